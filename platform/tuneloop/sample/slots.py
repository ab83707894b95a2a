"""The values that fill the slots of the sample templates, by language."""

_DRY = ("面粉", "白糖", "奶粉", "淀粉", "食盐", "红豆", "花生碎", "白芝麻", "糯米粉")
_WET = ("棕榈油", "黄油", "蛋液", "糖浆", "酱油")
_PACKAGING = ("纸箱", "包装袋", "标签", "脱氧剂", "吸塑盒")
_VENDORS = ("兴旺粮油", "老陈", "德顺", "李记", "鑫源", "孙老板")
_DRY_EN = ("flour", "sugar", "milk powder", "starch", "salt", "peanuts")
_WET_EN = ("palm oil", "butter", "egg liquid", "syrup")

SLOTS: dict[str, dict[str, tuple[str, ...]]] = {
    "zh": {
        # what the factory makes and uses
        "product": (
            *("蛋黄酥", "凤梨酥", "老婆饼", "曲奇", "牛肉干", "豆干", "沙琪玛"),
            *("肉松饼", "手抓饼", "速冻水饺", "雪花酥", "绿豆糕", "月饼"),
        ),
        "material": (*_DRY, *_WET, *_PACKAGING),
        "ingredient": (*_DRY, *_WET),
        "dry": _DRY,
        # people and places
        "person": (
            *("小李", "王姐", "老赵", "张伟", "阿芳", "李师傅", "陈主管", "小周"),
            *("刘芳", "阿强"),
        ),
        "team": (
            *("一车间", "二车间", "包装车间", "烘焙车间", "包装组", "配料组"),
            *("仓库", "夜班组"),
        ),
        "workshop": ("一车间", "二车间", "包装车间", "烘焙车间", "包装组", "配料组"),
        "line": ("一号线", "2号线", "三线", "包装线", "烘烤线", "速冻线"),
        "place": ("厂里", "车间", "厂门口", "单位"),
        "city": ("杭州", "温州", "南京", "合肥", "上海", "苏州", "长沙"),
        "customer": (
            *("惠民超市", "南门超市", "刘总", "李老板", "城东批发部", "金桥食堂"),
            *("小周便利店", "江北经销商", "福满多", "温州客户", "张姐"),
        ),
        "vendor": _VENDORS,
        "supplier": (*_VENDORS, "面粉厂", "纸箱厂", "糖厂", "蛋品站"),
        # machines
        "machine": (
            *("封口机", "和面机", "打包机", "喷码机", "金检机", "输送带", "空压机"),
            *("搅拌机", "真空机", "切片机"),
        ),
        "heater": ("烤箱", "油炸锅", "蒸柜", "封口机", "烘干机"),
        "error": ("E01", "E03", "E05", "E12", "F2"),
        "celsius": ("零下5", "零下8", "3", "10"),
        # numbers
        "batch": (
            *("0312", "A0315", "PC0318", "0408-2", "B17", "P1126", "0501", "C23"),
            *("0620-1", "PC0702"),
        ),
        "lot": ("L0305", "YL0226", "R0311", "M1203", "L0417", "YL0530", "R0622"),
        "order": ("SO1024", "DD0331", "1087号", "SO1136", "DD0412", "2213号"),
        "waybill": ("YD7754", "运单88213", "YD6032", "单号41907", "YD5518"),
        "qty": ("20", "50", "80", "100", "120", "200", "300", "五十", "一百"),
        "few": ("2", "3", "5", "两", "十"),
        "amount": ("1.2", "2", "3.5", "5", "8", "十"),
        "grams": ("100", "250", "500"),
        "days": ("1", "2", "3", "两", "三", "半"),
        "minutes": ("5", "10", "20", "十几"),
        # time
        "shift": ("早班", "中班", "晚班", "夜班"),
        "morning": ("7点", "七点半", "8点", "7:55"),
        "evening": ("5点半", "六点", "晚上8点", "20:30", "9点"),
        "past": (
            *("昨天", "上周", "这周", "这个月", "上个月", "本月", "上月"),
            *("最近三天", "最近一周", "前天"),
        ),
        "long_past": ("上周", "这个月", "上个月", "本月", "上月", "3月份", "上季度"),
        "past_day": ("昨天", "前天", "上周五", "周一", "12号", "5号"),
        "soon": ("这周", "这个月", "月底", "下周", "本月"),
        "future": ("明天", "后天", "下周一", "周五", "周六", "明天下午", "下周三"),
        "weekday": ("周一", "周三", "周五", "周六", "星期天"),
        "holiday": ("五一", "国庆", "中秋", "端午", "元旦", "过年"),
        "ill": ("发烧了", "感冒了", "肚子疼", "腰疼", "牙疼"),
        "errand": ("家里有事", "孩子生病", "要去医院", "老家有事", "孩子开家长会"),
    },
    "en": {
        "product": (
            "egg yolk pastry",
            "cookies",
            "beef jerky",
            "mooncakes",
            "dumplings",
        ),
        "material": (*_DRY_EN, *_WET_EN, "cartons", "labels"),
        "ingredient": (*_DRY_EN, *_WET_EN),
        "dry": _DRY_EN,
        "person": ("Li", "Wang", "Zhang Wei", "Chen", "Fang"),
        "team": ("workshop 1", "workshop 2", "the packing team", "the warehouse"),
        "line": ("line 1", "line 2", "line 3", "the packing line"),
        "city": ("Hangzhou", "Wenzhou", "Nanjing", "Shanghai"),
        "customer": ("Huimin", "Mr Liu", "South Gate Market", "Jinqiao"),
        "supplier": ("the flour mill", "Deshun", "the carton factory", "Mr Chen"),
        "machine": ("sealer", "dough mixer", "oven", "conveyor", "date printer"),
        "batch": ("0312", "A0315", "PC0318", "0408-2", "B17", "P1126"),
        "lot": ("L0305", "YL0226", "R0311", "M1203", "L0417"),
        "order": ("SO1024", "DD0331", "1087", "SO1136", "2213"),
        "waybill": ("YD7754", "waybill 88213", "YD6032", "YD5518"),
        "qty": ("20", "50", "80", "100", "200", "300"),
        "amount": ("2", "5", "12", "30"),
        "shift": ("morning shift", "day shift", "night shift"),
        "past": ("yesterday", "last week", "this month", "last month", "this week"),
        "long_past": ("last week", "last month", "this month", "last quarter"),
        "soon": ("this week", "this month", "next week"),
        "future": ("tomorrow", "next Monday", "on Friday", "next week"),
        "weekday": ("Monday", "Wednesday", "Friday", "Saturday"),
    },
}
