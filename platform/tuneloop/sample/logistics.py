"""Phrasebooks about orders and deliveries."""

from .phrasebook import Phrasebook, SampleIntent

SHIPMENT_TODAY = Phrasebook(
    SampleIntent(
        code="shipment_today",
        name_en="Shipments today",
        name_zh="今日发货",
        description_en="What leaves the factory today, for whom, when, and what is "
        "still to be loaded.",
        description_zh="今天发什么货、发给谁、几点装车、还有什么没发。",
    ),
    traffic=7,
    templates="""
        look 3  今天发(什么|哪些)货
        np   3  今天的发货单
        look 3  今天要发几(车|单|家)
        look 2  今天{customer}的货发了没
        yn   2  今天的货都(发|装)完了
        look 2  今天还有(几单|哪些|谁的)没发
        look 2  今天几点装车
        np   2  今日(出货|发货)(计划|清单)
        look 2  今天谁(送货|跟车|开车)
        look 2  {customer}今天发多少(箱|件)
        look 2  今天发(往|到){city}的有几单
        say  2  {customer}的货今天加急发
        do   2  安排~今天的(发货|车)
        look 2  (上午|下午|早上)那趟车装哪家的货
        look 2  物流车(几点|什么时候)来拉货
        np   2  今天待发[的](订单|货物)
        yn   2  今天下午还发货
        look 2  今天的{product}发给谁
        np   2  装车清单
        do   2  打印~今天的送货单
        ask  2  今天最晚几点(截单|发车)
        np   1  today发货
        np   2  today's shipments
        ask  2  what are we shipping today
        ask  2  did the {customer} order go out today
        ask  2  how many trucks (go out|leave) today
        np   1  shipments not sent yet today
        ask  1  what time does the truck load today
    """,
    unseen="""
        look 1  今儿有几家要送
        look 1  今天出库了哪几家的货
        yn   1  今晚还有车走
        ask  1  is there anything left to ship today
    """,
)

SHIPMENT_STATISTICS = Phrasebook(
    SampleIntent(
        code="shipment_statistics",
        name_en="Shipment statistics",
        name_zh="发货统计",
        description_en="Totals, rankings and trends of shipments or sales over a "
        "period longer than today.",
        description_zh="一段时间（不只今天）的发货或销量总数、排名、对比、明细。",
    ),
    traffic=4,
    templates="""
        look 3  {past}发了多少货
        np   3  {past}[的]发货(统计|报表|汇总)
        np   3  发货统计
        look 2  {past}给{customer}发了几(车|次|箱)
        look 2  {past}{product}(卖|发|出)了多少(箱|件)
        look 2  哪个客户{long_past}(拿货|要货|发货)最多
        np   2  {past}[的]出货量
        np   2  各(地区|客户|产品)出货占比
        do   2  导出~{long_past}[的]发货明细
        look 2  这个月出货比上个月(多还是少|多多少)
        np   2  {product}{long_past}[的]销量
        look 2  {past}往{city}发了几趟
        do   2  统计~{past}的出货
        look 2  {long_past}退货有多少
        np   2  (月度|每周)发货(趋势|对比)
        look 2  今年[一共]发了多少(吨|箱)
        look 2  平均一天发几单
        np   2  {customer}[的]历史发货
        look 2  {long_past}什么产品走得最好
        look 2  这个月到今天[为止]发了多少(箱|单)
        np   1  {past}的shipping数据
        np   2  shipment statistics for {long_past}
        ask  2  how much did we ship {past}
        ask  2  how many boxes went to {customer} {past}
        ask  2  which customer bought the most {long_past}
        do   1  export shipping data for {long_past}
        np   2  {product} sales for {long_past}
    """,
    unseen="""
        look 1  {past}出了几车货
        look 1  {long_past}货走得咋样
        np   1  {customer}提货汇总
        np   1  total cartons shipped in {long_past}
    """,
)

TRACK_SHIPMENT = Phrasebook(
    SampleIntent(
        code="track_shipment",
        name_en="Track a shipment",
        name_zh="物流跟踪",
        description_en="Where goods are that have left the factory, and whether they "
        "arrived.",
        description_zh="已经出厂的货、车到哪了，客户收到没有，运单号、司机电话。",
    ),
    traffic=6,
    templates="""
        look 3  货到哪[里]了
        look 3  {customer}的货到(哪|什么地方)了
        look 2  {waybill}到哪了
        np   2  {waybill}[的]物流
        look 2  发{city}的(货|车)到没到
        yn   2  {customer}(收到货|签收)了
        look 2  司机(开|走)到哪了
        np   2  送{customer}的司机(电话|车牌)
        look 2  {customer}的货(什么时候|几点)能(到|送到)
        np   2  物流单号
        look 2  {customer}的(运单号|快递单号)是多少
        ask  2  货怎么还没到，{customer}在催
        say  2  {customer}说没收到货
        look 2  送{city}的车堵在哪了
        np   2  {customer}[的](签收单|回单)
        do   2  跟踪~{waybill}
        look 2  上午发的那车到了没
        look 2  冷链车现在[车厢]几度
        look 2  {past_day}发的货怎么还在路上
        np   1  {customer}那单的tracking
        do   1  track一下{waybill}
        ask  2  where is the (delivery|shipment) for {customer}
        do   2  track {waybill}
        ask  2  has {customer} received the goods
        ask  2  when will the truck arrive in {city}
        np   1  tracking number for {customer}
        np   1  the driver's phone number
    """,
    unseen="""
        look 1  {city}那车走到哪个收费站
        look 1  {customer}那票货还要多久
        look 1  货进{customer}仓库没有
        ask  1  is the {city} truck there yet
    """,
)

ORDER_CREATE = Phrasebook(
    SampleIntent(
        code="order_create",
        name_en="Create an order",
        name_zh="下单",
        description_en="Place a customer's order, add to it, or how to do so.",
        description_zh="给客户下单、加单、改数量，或问怎么下单。",
    ),
    traffic=6,
    templates="""
        do   3  下~单
        do   3  给{customer}下{qty}箱{product}
        say  3  {customer}要{qty}箱{product}
        do   2  新建[一个]订单
        say  2  再来{qty}箱{product}
        say  2  帮{customer}(订|加){qty}件{product}
        ask  2  怎么(下单|录订单)
        say  2  {customer}(加单|追加){qty}箱
        do   2  录~{customer}的订单
        say  2  老样子，{product}{qty}箱
        say  2  {customer}订{qty}箱{product}，{future}要
        do   2  按上次的再下一单
        yn   2  {future}要的话，{product}还能订{qty}箱
        ask  2  {product}最少订多少箱
        do   2  开~销售单
        say  2  {product}{qty}箱，{product}{qty}箱
        do   2  补~{customer}{past_day}的单
        yn   2  下单后还能改(数量|地址)
        do   2  把{order}的数量改成{qty}箱
        say  2  {customer}打电话来订货
        do   1  给{customer}place一个order
        do   2  place an order for {qty} boxes of {product}
        say  2  {customer} wants {qty} boxes of {product}
        do   2  create a new order
        ask  1  how do I enter an order
        do   2  order {qty} more boxes of {product}
    """,
    unseen="""
        say  1  {customer}那边还想拿{qty}箱{product}
        say  1  订货：{product}{qty}件
        say  1  记个单，{customer}，{product}，{qty}
        say  1  put {customer} down for {qty} boxes
    """,
)

ORDER_STATUS = Phrasebook(
    SampleIntent(
        code="order_status",
        name_en="Order status",
        name_zh="订单状态",
        description_en="How a customer's order stands inside the factory, before it "
        "leaves; open, late and cancelled orders.",
        description_zh="客户订单在厂里处理到哪了（还没出厂）、未交、超期、取消的订单。",
    ),
    traffic=7,
    templates="""
        look 3  {order}订单到哪一步了
        np   3  {order}[订单][的]状态
        look 3  {customer}的(单|订单)怎么样了
        look 2  {customer}那单什么时候能(交|发|出)货
        yn   2  {order}(排产|审核|确认|安排)了
        look 2  {order}为什么还没(发货|生产|审核)
        np   2  未完成[的]订单
        look 2  还有几个订单没(交|做|发)
        np   2  {customer}[的]订单(记录|明细)
        look 2  {past_day}下的单安排了没
        look 2  今天来了几个新订单
        yn   2  {customer}的单能按时交
        look 2  {customer}还差多少箱没给
        np   2  {soon}要交的订单
        do   2  取消~{order}[订单]
        look 2  {order}是什么货
        look 2  {customer}这单谁在跟
        np   2  超期[的]订单
        look 2  {customer}催单了，他的货做了没
        yn   2  {customer}的订单排产了
        look 2  {past_day}的订单有哪些没做
        np   2  订单{order}[的]详情
        np   1  order {order}的状态
        np   2  the status of order {order}
        ask  2  when will the order from {customer} be ready
        ask  2  is order {order} confirmed
        np   2  open orders
        ask  2  how many orders are late {soon}
        do   1  cancel order {order}
    """,
    unseen="""
        look 1  {order}处理得咋样
        look 1  {customer}订的{product}轮到做了没
        np   1  欠交订单
        ask  1  what happened to order {order}
    """,
)

LOGISTICS = (
    SHIPMENT_TODAY,
    SHIPMENT_STATISTICS,
    TRACK_SHIPMENT,
    ORDER_CREATE,
    ORDER_STATUS,
)
