"""Phrasebooks about making things: batches, output, quality, machines."""

from .phrasebook import Phrasebook, SampleIntent

PRODUCTION_BATCHES = Phrasebook(
    SampleIntent(
        code="production_batches",
        name_en="Batches in production",
        name_zh="在产批次",
        description_en="Which batches of products are being made, planned or open: "
        "a list, not the progress of one.",
        description_zh="现在在做、排了、没完工的产品批次有哪些（问清单，不问某一批的进度）。",
    ),
    traffic=6,
    templates="""
        look 3  (现在|目前)在生产哪些批次
        np   3  在产批次
        look 3  今天开了几个批次
        look 2  {line}[现在]在做什么[产品]
        np   3  生产批次[列表]
        look 2  现在有几批{product}在做
        look 2  {workshop}今天做哪几批
        look 2  哪些批次还没完工
        np   2  今天[的]生产批次号
        look 2  {product}今天是哪个批号
        np   2  未完工[的]批次
        yn   2  {product}今天开(工|产)了
        look 2  还有几批没(下线|开始)
        np   2  {line}正在跑的批次
        look 2  昨天投产的(有哪些批次|是哪几批)
        look 2  哪批{product}在(烘烤|包装|冷却)
        do   2  列~今天在做的批次
        look 2  厂里现在都在做(什么|哪些产品)
        np   1  生产中的单子
        np   2  {workshop}(生产任务|生产计划)
        np   1  running的batch
        np   2  batches in production
        ask  2  which batches are running (now|on {line})
        ask  2  what is {line} making now
        np   1  current production batches
        do   1  list all open batches
        ask  2  how many batches of {product} today
    """,
    unseen="""
        look 1  车间这会儿都有哪几批货在做
        look 1  今天{product}排了几批
        np   1  进行中批号
        ask  1  what's being produced right now
    """,
)

BATCH_PROGRESS = Phrasebook(
    SampleIntent(
        code="batch_progress",
        name_en="Batch progress",
        name_zh="批次进度",
        description_en="How far one product batch is, which step it is at, when it "
        "will be done.",
        description_zh="某一批产品做到哪道工序、还差多少、什么时候能好。",
    ),
    traffic=9,
    templates="""
        look 3  {batch}做到哪[一步]了
        np   3  批次{batch}[的]进度
        look 3  {batch}什么时候能(做完|完工|好)
        np   2  {product}那批[的]进度
        yn   2  {batch}(做完|包装完|下线|入库)了
        look 2  {batch}还(差|剩)多少[没做]
        look 2  {product}这批到哪道工序了
        do   2  查~batch {batch}进度
        look 2  {batch}怎么还没(好|出来|下线)
        look 2  {batch}卡在哪[个工序]了
        look 2  {batch}完成百分之多少
        ask  2  客户在催{batch}，今天能不能出来
        look 2  {batch}现在是在烤还是在包装
        do   1  跟~{batch}这批
        look 2  那批{product}(烤|包|凉)好没
        np   2  {batch}[的]生产状态
        look 2  {batch}预计几点下线
        yn   2  {product}这批{future}能出来
        look 2  {customer}要的那批{product}做得怎么样了
        look 2  {batch}是不是停了
        look 2  {batch}怎么样了
        np   3  progress of batch {batch}
        ask  2  is batch {batch} (done|finished|packed) [yet]
        ask  2  when will batch {batch} be ready
        ask  2  how far along is batch {batch}
        ask  1  which step is batch {batch} at
    """,
    unseen="""
        look 1  {batch}进行到什么程度
        look 1  {batch}几号出得来
        do   1  催~{batch}
        ask  1  what percent of batch {batch} is complete
    """,
)

PRODUCTION_OUTPUT = Phrasebook(
    SampleIntent(
        code="production_output",
        name_en="Production output",
        name_zh="产量",
        description_en="How much was made in a day or period, by whom, and how much "
        "was lost.",
        description_zh="一天或一段时间做了多少、达没达标、损耗多少。",
    ),
    traffic=6,
    templates="""
        look 3  今天产了多少[箱]
        np   3  今日产量
        look 2  {past}{product}做了多少(箱|公斤|吨)
        np   2  {past}[的]产量(统计|报表|汇总)
        look 2  {workshop}今天(完成|做)了多少(箱|件)
        look 2  {line}一天能(出|做)多少{product}
        look 2  今天(产量|任务)达标了没
        look 2  {past}哪个(班组|车间|班)产量最高
        look 2  这个月产量比上个月(高|低|多)多少
        np   2  {product}的日产量
        yn   2  (今天|这周)的生产任务完成了
        look 2  {past}一共(生产|包)了几吨
        look 2  {past}(废品|报废|次品)有多少
        np   1  出品率
        np   2  {past}[的]损耗率
        np   2  {workshop}[的]计件数量
        do   2  报~今天的产量
        do   1  对比~早晚班的产量
        look 2  离(今天|这个月)的目标还差多少
        ask  2  {past}产量怎么(掉|低)了这么多
        np   1  今日output
        np   2  today's output
        ask  2  how many (boxes|cartons) did we make (today|{past})
        np   2  output of {product} for {past}
        ask  1  which line produced the most {past}
        ask  2  did we hit the target today
        np   1  scrap rate for {past}
    """,
    unseen="""
        look 1  {product}{past}出了几箱
        look 1  一天下来干了多少活
        np   1  班组产能
        ask  1  what was total production {past}
    """,
)

QUALITY_REPORT = Phrasebook(
    SampleIntent(
        code="quality_report",
        name_en="Quality report",
        name_zh="质检报告",
        description_en="Inspection results, pass rates, rejects, test reports and "
        "complaints about products.",
        description_zh="质检、化验结果，合格率，不合格品，检验报告，客户投诉。",
    ),
    traffic=3,
    templates="""
        np   3  {batch}[的]质检报告
        look 3  {batch}(质检|检验)(过|合格)了没
        np   2  {product}[的]检测报告
        np   2  {past}[的]合格率
        look 2  {past}有几批不合格
        look 2  {product}的(水分|菌落|净含量|酸价)达标没
        look 2  {batch}为什么不合格
        do   2  发~{product}的出厂检验报告给{customer}
        ask  2  客户要检验报告去哪(下载|打印|拿)
        np   2  (化验结果|化验单)
        say  2  {customer}投诉{product}里有(头发|异物|虫子)
        np   2  {past}[的]客诉记录
        look 2  {past}投诉最多的是哪个产品
        look 2  金检{past}(报了|剔了)几次
        look 2  {batch}的留样放哪了
        np   2  {ingredient}[的]进厂检验结果
        yn   2  {batch}可以放行
        np   2  不合格品(清单|记录)
        look 2  {batch}是谁检的
        look 2  {batch}检验结果出来没
        np   2  {past}[的]质检情况
        look 2  {product}的检验报告有没有
        ask  2  {batch}质检不合格怎么处理
        np   1  {batch}的QC结果
        np   2  quality report for batch {batch}
        ask  2  did batch {batch} pass (QC|inspection)
        np   2  defect rate for {past}
        ask  1  why was batch {batch} rejected
        do   1  send the test report of {product} to {customer}
        np   1  customer complaints from {past}
    """,
    unseen="""
        look 1  {product}抽检结果出来没
        look 1  {batch}能不能出厂，品控签了没
        np   1  {past}次品率
        np   1  lab results for {product}
    """,
)

EQUIPMENT_FAULT = Phrasebook(
    SampleIntent(
        code="equipment_fault",
        name_en="Equipment fault",
        name_zh="设备报修",
        description_en="A machine is broken or acts up; repairs and maintenance.",
        description_zh="机器坏了、报警、停机；报修、维修和保养。",
    ),
    traffic=4,
    templates="""
        say  3  {machine}坏了
        say  3  {line}的{machine}不动了
        do   3  报修
        do   2  报修{machine}
        say  2  {machine}(一直|老是)(报警|卡料|跳闸|响)
        ask  2  {machine}报{error}是什么(意思|问题)
        look 2  {machine}修好了没
        ask  2  {machine}坏了找谁修
        say  2  {heater}温度(上不去|不对|降不下来)
        say  2  {machine}有异响，停机了
        do   2  叫~维修来{line}
        say  2  {line}停线了，快来人
        np   2  {machine}[的]维修记录
        look 2  维修(师傅|工)什么时候(到|来)
        look 2  {machine}上次保养是什么时候
        say  2  冷库温度到{celsius}度了，制冷不行
        say  2  {line}跳闸停电了
        say  2  {machine}漏(油|气)
        look 2  现在有哪些机器停着
        do   1  安排~{machine}保养
        say  2  喷出来的日期看不清，喷码机要调
        say  1  {machine}又down了
        say  2  the {machine} is broken
        do   2  report a (fault|breakdown) on {line}
        say  2  the {machine} keeps (alarming|jamming)
        ask  2  is the {machine} fixed yet
        ask  1  who repairs the {machine}
        say  1  {line} stopped, need a mechanic
    """,
    unseen="""
        say  1  {machine}罢工了
        say  1  {machine}冒烟
        ask  1  机修电话多少
        say  1  something is wrong with the {machine}
    """,
)

PRODUCTION = (
    PRODUCTION_BATCHES,
    BATCH_PROGRESS,
    PRODUCTION_OUTPUT,
    QUALITY_REPORT,
    EQUIPMENT_FAULT,
)
