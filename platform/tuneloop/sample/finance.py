"""Phrasebooks about money: what is due, what has been paid, what things cost."""

from .phrasebook import Phrasebook, SampleIntent

PAYMENTS_DUE = Phrasebook(
    SampleIntent(
        code="payments_due",
        name_en="Payments due",
        name_zh="待付待收款",
        description_en="Money that is still to be paid or collected: how much, to or "
        "from whom, by when, what is overdue.",
        description_zh="还没付、还没收的钱：欠多少、哪天到期、谁逾期了。",
    ),
    traffic=3,
    templates="""
        look 3  {soon}要付(哪些|多少)(款|钱)
        np   3  待付款[列表]
        np   2  应付账款
        look 2  {supplier}的(货款|钱)什么时候(付|到期)
        look 2  [我们]还欠{supplier}多少钱
        look 2  {customer}还欠[我们]多少[货款]
        np   2  应收账款
        look 2  哪些(客户|账单)(逾期|超期)了
        look 2  {soon}有几笔款要(付|收)
        np   2  {soon}到期的账单
        look 2  (房租|电费|水费|社保)(什么时候|哪天|几号)交
        np   2  {soon}[的]付款计划
        do   2  提醒~{customer}付款
        look 2  谁的账期到了
        np   2  逾期未(收|付)款
        ask  2  {supplier}又来催款，欠他们多少
        look 2  下笔{material}款是多少
        np   2  {customer}[的]欠款
        look 2  工资(几号|哪天|什么时候)发
        np   1  {soon}的payment due
        np   2  payments due {soon}
        ask  2  how much do we owe {supplier}
        ask  2  which invoices are overdue
        ask  2  when is the payment to {supplier} due
        ask  2  how much does {customer} owe us
        np   1  accounts payable
    """,
    unseen="""
        look 1  外面还有多少账没收回来
        look 1  月底前得准备多少钱
        np   1  {supplier}未结货款
        ask  1  any bills to pay on {weekday}
    """,
)

PAYMENT_STATUS = Phrasebook(
    SampleIntent(
        code="payment_status",
        name_en="Payment status",
        name_zh="付款到账查询",
        description_en="Whether a certain payment went out, came in or was approved.",
        description_zh="某一笔钱付了没、到账了没、批了没。",
    ),
    traffic=4,
    templates="""
        look 3  {customer}的(款|钱|货款)到[账]了没
        yn   3  {supplier}的(款|货款)(付|打|转)了
        look 2  {customer}打[过来]了多少钱
        yn   2  {amount}万那笔到账了
        look 2  给{supplier}的款(批|审)到哪了
        look 2  {supplier}说没收到钱，(付|转)了没
        np   2  付款(进度|状态)
        np   2  {customer}[的]回款(记录|情况)
        np   2  {supplier}的付款(凭证|回单|截图)
        look 2  (工资|奖金|加班费)发了没
        look 2  我的报销(批|打|到)了没
        ask  2  {past_day}转给{supplier}的钱为什么被退回
        look 2  (今天|{past})收到几笔款
        do   2  确认~{customer}的(汇款|到款)
        yn   2  {order}[的]尾款收到了
        look 2  付{supplier}那笔是谁批的
        look 2  {customer}定金(收|付)了没
        yn   2  {customer}付清了
        np   2  {order}[的]收款情况
        yn   2  {customer}的钱收到了
        look 2  给{supplier}付款了没
        look 2  {amount}万的付款申请过了没
        yn   1  {customer}的payment到了
        ask  2  has {customer} paid [yet]
        ask  2  did the payment to {supplier} go through
        np   2  payment status of order {order}
        ask  1  was my (expense claim|reimbursement) paid
        ask  2  did we receive the {amount},000 from {customer}
        np   1  proof of payment to {supplier}
    """,
    unseen="""
        yn   1  {supplier}那边说钱收到了
        look 1  {customer}那{amount}万进来没
        look 1  财务给{supplier}转账没有
        ask  1  is the money from {customer} in
    """,
)

PRICE_QUERY = Phrasebook(
    SampleIntent(
        code="price_query",
        name_en="Price query",
        name_zh="价格查询",
        description_en="What a product, material or transport costs; quotes and "
        "discounts.",
        description_zh="产品、原料、运费多少钱；报价、优惠、涨价。",
    ),
    traffic=4,
    templates="""
        look 3  {product}多少钱[一箱]
        look 3  {ingredient}现在什么价
        np   3  {product}[的](价格|报价|出厂价|批发价)
        yn   2  {product}拿{qty}箱能便宜点
        np   2  {ingredient}[的](采购价|最近报价|行情)
        look 2  {ingredient}又涨了多少
        np   2  (最新|今年|新)[的](价目表|价格表)
        look 2  给{customer}的{product}是什么价
        look 2  {product}一箱成本多少
        look 2  {vendor}的{material}报多少
        look 2  哪家的{material}便宜
        yn   2  {ingredient}最近涨价了
        do   2  给{customer}报~{product}的价
        look 2  送到{city}运费怎么算
        np   2  {product}零售价
        look 2  {ingredient}多少钱一吨
        look 2  {product}批发价格多少
        look 2  {customer}拿{product}多少钱一箱
        np   2  {customer}[的]协议价
        look 2  {product}(有没有|有什么)优惠
        look 2  上次{material}多少钱(进|买)的
        do   2  改~{product}的价格
        np   2  {product}{grams}克装单价
        np   1  {product}的price
        ask  2  how much is a box of {product}
        np   2  the price list
        np   2  wholesale price of {product}
        ask  2  what did we pay for {material} last time
        ask  2  is there a discount for {qty} boxes
        do   1  quote {product} for {customer}
    """,
    unseen="""
        look 1  {product}走批发怎么卖
        look 1  {ingredient}一吨得花多少
        look 1  {product}卖{customer}几块一斤
        ask  1  what's the going rate for {material}
    """,
)

FINANCE = (PAYMENTS_DUE, PAYMENT_STATUS, PRICE_QUERY)
