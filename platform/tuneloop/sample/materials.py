"""Phrasebooks about raw materials: lots, stock, shortages, suppliers."""

from .phrasebook import Phrasebook, SampleIntent

RAW_MATERIAL_BATCHES = Phrasebook(
    SampleIntent(
        code="raw_material_batches",
        name_en="Raw-material batches",
        name_zh="原料批次",
        description_en="Lots of incoming materials: which lot, from whom, when it "
        "arrived, where it was used.",
        description_zh="进厂原料的批次：哪一批、谁家的、哪天到的、用到哪里了。",
    ),
    traffic=4,
    templates="""
        np   3  原料批次
        look 3  {ingredient}[现在]用的[是]哪(一|个)批
        np   3  {material}[的]批次
        look 2  (今天|昨天)到了哪几批(料|原料)
        look 2  {lot}[这批]{ingredient}(什么时候|哪天)到的
        look 2  {lot}是哪家(的|送的|供的)
        look 2  {batch}用的哪批{ingredient}
        np   2  {ingredient}批号
        look 2  {lot}的保质期到(什么时候|几号)
        np   2  {past}(进|入库)的原料批次
        look 2  先用哪批{ingredient}
        do   2  追溯~{lot}
        do   2  登记~新到的{ingredient}批次
        look 2  {lot}[那批]{ingredient}用到哪些产品里了
        np   2  {ingredient}入库批次记录
        look 2  开封的{ingredient}是哪批
        np   1  原料追溯[记录]
        look 2  {supplier}{past}送来的是哪几批
        look 2  {ingredient}有几个批次
        yn   2  {lot}[这批料]还在用
        np   1  {ingredient}的lot号
        np   1  原料batch
        np   2  raw material batches
        ask  2  which lot of {ingredient} are we using
        ask  2  when did lot {lot} arrive
        do   2  trace lot {lot}
        np   2  lot numbers of {ingredient}
        ask  1  who supplied lot {lot}
    """,
    unseen="""
        look 1  {batch}里的{ingredient}是哪天进的
        np   1  进料批号
        look 1  {vendor}那批{ingredient}是啥批号
        ask  1  what is the expiry date of lot {lot}
    """,
)

RAW_MATERIAL_STOCK = Phrasebook(
    SampleIntent(
        code="raw_material_stock",
        name_en="Raw-material stock",
        name_zh="原料库存",
        description_en="How much of a material is in stock, where it is, taking it "
        "out, counting it.",
        description_zh="某种原料或包材还有多少、放在哪、领用和盘点。",
    ),
    traffic=7,
    templates="""
        look 3  {material}还有多少
        np   3  原料库存
        np   3  {material}库存
        look 2  {material}还(能|够)用几天
        look 2  仓库里还有几(袋|包){dry}
        look 2  {ingredient}够不够做{qty}箱{product}
        look 2  现在仓库(都|)有些什么料
        np   2  仓库盘点(表|结果)
        yn   2  {material}还有[货]
        look 2  {material}放在哪个(库位|货架|仓库)
        np   2  包材库存
        do   2  盘~{material}
        look 2  {past}用了多少{ingredient}
        np   2  {past}[的]领料(记录|明细)
        do   2  领{few}袋{dry}
        look 2  {material}账面和实际差多少
        yn   2  {material}今天入库了
        look 2  (一号|冷藏|冷冻|包材)库还有多少东西
        np   1  {material}余量
        look 2  剩下的{ingredient}有几公斤
        look 1  {material}的stock还有多少
        ask  2  how much {ingredient} do we have [left]
        np   2  {material} stock
        ask  2  is there enough {ingredient} for {qty} boxes
        np   2  raw material inventory
        ask  2  how many bags of {dry} are in the warehouse
        ask  1  where (is the {ingredient}|are the cartons) stored
    """,
    unseen="""
        look 1  现存{ingredient}多少斤
        look 1  库里{material}撑得到{weekday}不
        np   1  料仓存量
        ask  1  do we still have {material}
    """,
)

STOCK_ALERTS = Phrasebook(
    SampleIntent(
        code="stock_alerts",
        name_en="Stock alerts",
        name_zh="库存预警",
        description_en="What runs short, expires soon or must be reordered; setting "
        "alarms for it.",
        description_zh="哪些料快没了、快过期、要补货；设置库存提醒。",
    ),
    traffic=4,
    templates="""
        look 3  哪些(原料|料|东西)(快没了|不够了|要补货)
        np   3  库存预警
        np   2  缺料(清单|提醒|预警)
        look 2  (有什么|哪些料)(快|要)过期[了|的]
        look 2  有没有低于安全库存的
        np   2  临期原料
        say  2  {material}快没了[，提醒采购]
        look 2  今天要补(什么货|哪些料)
        look 2  {material}低于多少会报警
        do   2  设~{material}的预警线
        do   2  设置{ingredient}低于{qty}公斤提醒我
        ask  2  {material}怎么又报缺货了
        np   2  补货提醒
        look 2  {soon}到期的(料|原料)有哪些
        np   2  低库存物料
        look 2  {material}要不要补[货]
        do   2  关~{material}的库存提醒
        ask  2  收到缺货提醒，是哪个料
        look 2  哪些成品放太久了
        np   1  过期物料
        look 2  要采购的有哪些[东西]
        np   1  库存alert
        np   2  stock alerts
        ask  2  what is running low
        ask  2  which materials expire {soon}
        np   2  low stock list
        do   2  set an alert for {ingredient} below {qty} kg
        ask  2  what do we need to reorder {soon}
    """,
    unseen="""
        look 1  啥料告急
        look 1  断货的有哪几样
        say  1  {material}见底了
        ask  1  is anything about to run out
    """,
)

SUPPLIER_CONTACT = Phrasebook(
    SampleIntent(
        code="supplier_contact",
        name_en="Supplier contact",
        name_zh="供应商联系方式",
        description_en="Who supplies something and how to reach them.",
        description_zh="某种料是谁家供的、供应商的电话、微信、联系人、地址。",
    ),
    traffic=2,
    templates="""
        np   3  {supplier}[的]电话
        look 3  {material}是(谁|哪家)供的
        np   2  {material}供应商[的](电话|联系方式|微信)
        ask  2  怎么联系{supplier}
        look 2  {supplier}的(业务员|联系人|老板)是谁
        np   2  供应商(名单|通讯录|名录)
        look 2  (卖|送){material}的那家电话多少
        do   2  给{supplier}打~电话
        say  2  把{supplier}的微信推给我
        ask  2  {material}有问题找(谁|哪个供应商)
        look 2  {supplier}地址在哪
        look 2  有没有别的{material}厂家
        look 2  上次买{material}找的谁
        do   2  联系~{supplier}
        do   2  添加~新供应商
        yn   2  {supplier}换(电话|业务员)了
        np   2  {supplier}联系人[名片]
        np   2  {material}厂家
        look 2  {material}一直是跟谁拿的
        look 2  采购{material}该打给谁
        np   1  {supplier}的contact
        np   2  the phone number of {supplier}
        ask  2  who supplies our {material}
        np   2  supplier contact list
        ask  2  how can I reach {supplier}
        do   1  call {supplier}
        ask  1  who do I contact about {material}
    """,
    unseen="""
        look 1  {material}那边对接人叫啥
        np   1  {supplier}手机号
        look 1  供{material}的老板姓什么
        np   1  WeChat of {supplier}
    """,
)

MATERIALS = (
    RAW_MATERIAL_BATCHES,
    RAW_MATERIAL_STOCK,
    STOCK_ALERTS,
    SUPPLIER_CONTACT,
)
