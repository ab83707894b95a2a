"""What annotators of the sample project read, and which intents they confuse."""

CONFUSABLE_PAIRS: tuple[tuple[str, str], ...] = (
    ("attendance_today", "attendance_record"),
    ("production_batches", "raw_material_batches"),
    ("production_batches", "batch_progress"),
    ("raw_material_stock", "stock_alerts"),
    ("shipment_today", "shipment_statistics"),
    ("track_shipment", "order_status"),
    ("payments_due", "payment_status"),
    ("clock_in", "clock_out"),
    ("order_create", "order_status"),
    ("production_output", "shipment_statistics"),
)
"""Pairs that are alike on purpose; the guidelines say how to tell them apart."""

GUIDELINES_EN = """\
# Food factory assistant: labelling guide

Choose the one intent that the person wants done. Judge by the meaning, not by single
words. Typos, dialect and mixed languages don't matter. If a question fits nothing
below, or is chatter, choose **Out of scope**. If you really can't tell, skip it.

## Pairs that are easily confused

| Ask yourself | Then | Example |
|---|---|---|
| Is it about **today's** people? | Attendance today | 今天谁没来 |
| … about any day before, or a period? | Attendance record | 昨天谁没来 |
| A list of **product** batches? | Batches in production | 在产批次 |
| … lots of an incoming **material**? | Raw-material batches | 面粉的批次 |
| How far is **one** product batch? | Batch progress | 0312做到哪了 |
| **How much** is there? | Raw-material stock | 白糖还有多少 |
| … or what is **short or expiring**? | Stock alerts | 白糖快没了 |
| Goods that leave **today**? | Shipments today | 今天发什么货 |
| … totals over a **longer period**? | Shipment statistics | 这个月发了多少货 |
| Has it **left** the factory? | Track a shipment | 刘总的货到哪了 |
| … or is it **still being handled**? | Order status | 刘总的订单怎么样了 |
| Money **still to be paid**? | Payments due | 还欠老陈多少钱 |
| … or did **this payment** arrive? | Payment status | 老陈的款付了吗 |
| Start of work? | Clock in | 打卡 |
| … end of work? | Clock out | 下班打卡 |
| **Place or change** an order? | Create an order | 刘总加单50箱 |
| … or **ask how it stands**? | Order status | 刘总那单安排了吗 |
| How much was **made**? | Production output | 上周曲奇做了多少箱 |
| … how much was **sent or sold**? | Shipment statistics | 上周曲奇发了多少箱 |

## Rules of thumb

- A bare 打卡 is *Clock in*. Forgetting to clock belongs to the end it was forgotten at.
- 这个月到今天发了多少 names today but means the month: *Shipment statistics*.
- "Is my leave approved?" is *Leave request*; "who is on leave today?" is
  *Attendance today*; "do we work on Saturday?" is *Work schedule*.
- "0312 uses which flour?" asks for the flour's lot: *Raw-material batches*.
- Food knowledge ("how do I bake cookies at home?") is *Out of scope*.
"""

GUIDELINES_ZH = """\
# 食品厂助手：标注说明

选出提问人真正想办的那一件事。看意思，不要只看个别词。错别字、方言、中英混写都不影响判断。
下面都不合适，或者只是闲聊，选**超出范围**。实在拿不准就跳过。

## 容易混淆的意图

| 先问自己 | 选 | 例子 |
|---|---|---|
| 问**今天**的人？ | 今日考勤 | 今天谁没来 |
| ……以前某天或一段时间？ | 考勤记录 | 昨天谁没来 |
| 问**产品**批次的清单？ | 在产批次 | 在产批次 |
| ……进厂**原料**的批次？ | 原料批次 | 面粉的批次 |
| 问**某一批**产品做到哪？ | 批次进度 | 0312做到哪了 |
| 问**有多少**？ | 原料库存 | 白糖还有多少 |
| ……问**缺什么、快过期**？ | 库存预警 | 白糖快没了 |
| **今天**要发的货？ | 今日发货 | 今天发什么货 |
| ……**一段时间**的总数？ | 发货统计 | 这个月发了多少货 |
| 货**已经出厂**？ | 物流跟踪 | 刘总的货到哪了 |
| ……还**在厂里处理**？ | 订单状态 | 刘总的订单怎么样了 |
| 钱**还没付、没收**？ | 待付待收款 | 还欠老陈多少钱 |
| ……**这一笔**到了没？ | 付款到账查询 | 老陈的款付了吗 |
| 上班的卡？ | 上班打卡 | 打卡 |
| ……下班的卡？ | 下班打卡 | 下班打卡 |
| 要**下单、改单**？ | 下单 | 刘总加单50箱 |
| ……还是**问订单情况**？ | 订单状态 | 刘总那单安排了吗 |
| **做**了多少？ | 产量 | 上周曲奇做了多少箱 |
| ……**发了、卖了**多少？ | 发货统计 | 上周曲奇发了多少箱 |

## 经验

- 只说“打卡”，算*上班打卡*。忘打卡，看忘的是上班还是下班。
- “这个月到今天发了多少”提到今天，问的却是一个月：*发货统计*。
- “我的假批了没”是*请假*；“今天谁请假了”是*今日考勤*；“周六上不上班”是*排班*。
- “0312用的哪批面粉”问的是面粉的批次：*原料批次*。
- 食品知识（“曲奇在家怎么做”）是*超出范围*。
"""
