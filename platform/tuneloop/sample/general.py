"""Phrasebooks about messages, and about everything the assistant can't do."""

from .phrasebook import Phrasebook, SampleIntent

NOTIFICATIONS = Phrasebook(
    SampleIntent(
        code="notifications",
        name_en="Notifications",
        name_zh="通知消息",
        description_en="Reading or sending messages, announcements and to-dos; "
        "message settings.",
        description_zh="看通知、公告、待办，发通知，消息提醒的设置。",
    ),
    traffic=4,
    templates="""
        look 3  有没有[新]通知
        np   3  我的(消息|通知)
        look 2  今天有什么(通知|公告|消息)
        np   2  未读(消息|通知)
        look 2  厂里最近有什么新通知
        do   2  发~通知给{team}
        do   2  通知{team}{future}开会
        np   2  (最新|放假|安全)公告
        look 2  谁(@|艾特)我了
        look 2  待我审批的有几条
        np   2  [我的]待办[事项]
        do   2  关~(消息|微信)提醒
        ask  2  为什么我收不到(通知|消息提醒)
        do   2  全部标为已读
        look 2  刚才弹出来的那条(消息|通知)是什么
        np   2  会议通知
        look 2  {future}的会几点开
        yn   2  {holiday}放假通知出来了
        do   2  给全厂群发停(水|电)通知
        look 2  上次那个通知在哪看
        np   1  inbox里的消息
        ask  2  are there any new (notifications|messages)
        np   2  unread messages
        do   2  turn off notifications
        do   2  notify {team} about the meeting
        ask  2  why am I not getting (messages|notifications)
        np   1  the latest announcement
    """,
    unseen="""
        look 1  群里说的那个公告在哪
        look 1  老板今天交代啥了
        np   1  系统消息
        ask  1  did I miss anything
    """,
)

OUT_OF_SCOPE = Phrasebook(
    SampleIntent(
        code="out_of_scope",
        name_en="Out of scope",
        name_zh="超出范围",
        description_en="Anything the assistant can't do: chatter, general knowledge, "
        "private matters.",
        description_zh="助手办不了的：闲聊、百科知识、私事。",
        is_fallback=True,
    ),
    traffic=7,
    templates="""
        look 1  {future}{city}天气怎么样
        ask  1  外面下雨了没
        yn   1  {weekday}会下雪
        ask  1  今天穿什么衣服合适
        chat 1  讲个笑话[吧|听听]
        do   1  写一首关于(春天|面包|秋天)的诗
        do   1  给老婆写个生日祝福
        do   1  写一份年终总结
        do   1  把这句话翻译成英文
        do   1  给女儿起个名字
        look 1  昨晚国足踢了几比几
        ask  1  你支持哪个球队
        look 1  世界杯谁是冠军
        ask  1  梅西和C罗谁厉害
        chat 1  你好
        chat 1  在吗
        chat 1  早上好呀
        chat 1  谢谢你
        chat 1  好的
        chat 1  晚安
        chat 1  哈哈哈
        chat 1  你真笨
        chat 1  好无聊，陪我聊会
        chat 1  我心情不好
        ask  1  你叫什么名字
        ask  1  你是机器人还是真人
        ask  1  你几岁了
        ask  1  你会唱歌不
        ask  1  你是谁做的
        ask  1  附近有什么好吃的
        ask  1  晚上吃什么好
        ask  1  红烧肉怎么做
        ask  1  {product}在家怎么做
        ask  1  吃{product}会不会胖
        ask  1  {product}是哪里的特产
        ask  1  低筋面粉和高筋面粉有什么区别
        ask  1  牛奶和豆浆哪个有营养
        look 1  从厂里到{city}坐什么车
        look 1  去{city}的高铁票还有没有
        do   1  订一张去{city}的机票
        do   1  点个外卖
        do   1  叫个滴滴
        do   1  放首歌
        do   1  定个七点的闹钟
        look 1  最近有什么好看的电影
        look 1  今天股票涨了没
        look 1  现在金价多少
        look 1  美元兑人民币多少
        look 1  双色球开奖号码
        look 1  今天油价多少一升
        ask  1  房贷利率现在几个点
        ask  1  公积金怎么提取
        ask  1  小孩上学要什么材料
        ask  1  身份证过期了去哪办
        ask  1  驾照扣了几分怎么查
        ask  1  考叉车证去哪报名
        ask  1  感冒吃什么药好得快
        ask  1  腰疼是怎么回事
        ask  1  失眠怎么办
        ask  1  怎么减肥
        ask  1  python怎么写循环
        ask  1  excel怎么求和
        ask  1  这段代码为什么报错
        ask  1  java和go哪个好学
        ask  1  手机卡怎么办
        ask  1  微信密码忘了怎么找回
        ask  1  家里wifi连不上怎么弄
        ask  1  哪款手机便宜好用
        ask  1  1加到100等于多少
        ask  1  地球到月球多远
        ask  1  李白是哪个朝代的
        ask  1  秦始皇活了多少岁
        ask  1  天为什么是蓝的
        ask  1  中国有多少个省
        ask  1  鸡兔同笼怎么算
        ask  1  老板人怎么样
        ask  1  食堂阿姨是哪里人
        ask  1  女朋友生气了怎么哄
        ask  1  相亲第一次见面聊什么
        ask  1  我这个星座今年运势如何
        ask  1  做梦梦到蛇什么意思
        chat 1  王者荣耀上号
        chat 1  祝大家{holiday}快乐
        chat 1  我要辞职去创业
        chat 1  二手电动车有人要吗
        chat 1  手机壳便宜卖了，要的私聊
        chat 1  嗯嗯
        chat 1  666啊
        chat 1  测试测试
        chat 1  asdfg啊啊
        ask  1  what's the weather like in {city}
        do   1  tell me a joke
        do   1  write a poem about autumn
        ask  1  who won the football match last night
        chat 1  good morning
        chat 1  how are you
        ask  1  what is your name
        ask  1  are you a robot
        do   1  translate this into Chinese
        ask  1  how do I sort a list in python
        ask  1  what is the capital of France
        do   1  play some music
        ask  1  how do I lose weight
        do   1  book a flight to {city}
        ask  1  what should I eat tonight
        chat 1  you are so slow
        ask  1  who is the president of the USA
        do   1  recommend a good movie
        chat 1  thank you very much
        ask  1  what's the bitcoin price
    """,
    unseen="""
        ask  1  空气质量好不好
        do   1  背首唐诗
        look 1  今晚有球赛没
        chat 1  你在干嘛
        chat 1  再见
        ask  1  孩子发烧多少度要去医院
        ask  1  附近哪有修车的
        do   1  出个谜语
        ask  1  怎么学英语快
        look 1  离{holiday}还有几天
        ask  1  鸡蛋煮几分钟
        do   1  写个请柬
        ask  1  js怎么发请求
        ask  1  do you like football
        do   1  sing me a song
        ask  1  what year is it
    """,
)

GENERAL = (NOTIFICATIONS, OUT_OF_SCOPE)
