"""Phrasebooks about people: clocking in and out, attendance, leave, shifts."""

from .phrasebook import Phrasebook, SampleIntent

CLOCK_IN = Phrasebook(
    SampleIntent(
        code="clock_in",
        name_en="Clock in",
        name_zh="上班打卡",
        description_en="Clock in at the start of work, or trouble doing so.",
        description_zh="上班签到打卡，或上班打不了卡、忘打卡要补。",
    ),
    traffic=10,
    templates="""
        do   3  打~卡
        do   3  上班打卡
        do   2  签到
        do   2  打[个]上班卡
        say  2  我到{place}了，打个卡
        say  2  来上班了[，记一下]
        ask  2  上班在哪[里]打卡
        ask  2  早上怎么打卡
        ask  2  为什么我上班打不了卡
        say  2  打卡打不上，{shift}要迟到了
        say  2  定位不对，上班卡打不上
        ask  2  {shift}几点开始打卡
        ask  2  最晚几点打卡不算迟到
        do   2  记~我{morning}到岗
        say  2  {person}手机没电了，帮他打个上班卡
        ask  1  人脸识别(不出来|失败)，怎么签到
        yn   2  没到{place}也能打上班卡
        say  1  {morning}已到岗
        say  1  换好工服了，开工[打卡]
        ask  2  早上忘记打卡了怎么补
        say  1  check in不了，帮我弄下
        do   1  clock in一下
        do   2  clock in
        say  2  I'm at the (factory|gate|workshop), clock me in
        ask  2  how do I clock in for the {shift}
        say  2  clock-in (failed|is not working|keeps failing)
        say  1  punch in now
        say  1  start my shift
        ask  1  why can't I check in this morning
    """,
    unseen="""
        say  1  早，来报到了
        ask  1  到了车间还没签，在哪点
        say  1  迟了{minutes}分钟，还来得及签吗
        say  1  arrived, please sign me in
    """,
)

CLOCK_OUT = Phrasebook(
    SampleIntent(
        code="clock_out",
        name_en="Clock out",
        name_zh="下班打卡",
        description_en="Clock out at the end of work, or trouble doing so.",
        description_zh="下班签退打卡，或下班打不了卡、忘打卡要补。",
    ),
    traffic=8,
    templates="""
        do   3  下班打卡
        do   3  打[个]下班卡
        do   2  签退
        say  2  下班了[，走了]
        say  2  活干完了，打个卡(走人|下班)
        ask  2  下班(卡在哪打|在哪打卡)
        ask  2  昨晚下班忘打卡怎么补
        say  2  {shift}下班卡打不上
        ask  2  几点以后打卡[才]不算早退
        ask  2  加班完了怎么打卡
        do   2  记~我{evening}下班
        say  2  收工(|啦|打卡)
        say  2  交完班了，可以走了
        say  2  加班到{evening}，现在(打卡|签退)
        yn   2  走的时候忘了签退，现在能补
        ask  2  为什么我的签退没成功
        say  2  {person}先走了，帮他签退
        yn   2  提前{minutes}分钟走要打卡
        yn   1  下班没打卡会算旷工
        do   1  check out一下
        say  1  {shift}结束，打卡下班
        do   2  clock out
        say  2  I'm leaving now, clock me out
        ask  2  how do I clock out after overtime
        say  2  forgot to clock out (last night|yesterday)
        do   1  end my shift
        say  1  the clock-out button (doesn't work|is not working)
    """,
    unseen="""
        say  1  走啦，帮我记个离岗
        ask  1  离厂之前在哪点签退
        say  1  {shift}干完，撤了
        say  1  done for today, sign me out
    """,
)

ATTENDANCE_TODAY = Phrasebook(
    SampleIntent(
        code="attendance_today",
        name_en="Attendance today",
        name_zh="今日考勤",
        description_en="Who is here, late or absent today; headcount right now.",
        description_zh="今天谁来了、迟到、缺勤，现在有多少人在岗。",
    ),
    traffic=8,
    templates="""
        look 3  今天谁没来
        look 3  今天(来了|到了|到岗)多少人
        look 2  今天{team}到齐了没
        np   3  今天[的]考勤
        np   2  今日出勤(情况|人数|表)
        look 2  今天有几个(迟到|请假|旷工)的
        yn   2  {person}今天来(上班|)了
        look 2  {person}今天几点(到的|打的卡)
        look 2  现在{team}有几个人在岗
        look 2  今天(缺|少)了几个人
        np   2  今天请假人员名单
        look 2  今天{shift}还有谁没打卡
        yn   2  我今天[的]卡打上了
        look 2  今早打卡的(都|)有谁
        do   2  统计~今天的出勤人数
        look 2  {team}今天人(够不够|手够吗)
        look 1  今天出勤率多少
        ask  2  {team}怎么少人，谁缺勤
        np   1  今天未打卡名单
        np   1  today考勤
        look 1  {team}今天几个人上工
        np   2  today's attendance
        ask  2  who is absent today
        ask  2  how many (workers|people) (came in|showed up) today
        ask  1  did {person} come to work today
        ask  1  who was late this morning
        np   1  attendance of {team} today
    """,
    unseen="""
        look 1  今天上岗的都有哪些人
        look 1  早上点名差了谁
        look 1  人都齐了没，可以开工不
        ask  1  is everyone here today
    """,
)

ATTENDANCE_RECORD = Phrasebook(
    SampleIntent(
        code="attendance_record",
        name_en="Attendance record",
        name_zh="考勤记录",
        description_en="Attendance, hours or late days of the past: any period or day "
        "before today, or a report over several days.",
        description_zh="过去的出勤、工时、迟到记录：今天以前的某天或某段时间。",
    ),
    traffic=4,
    templates="""
        np   3  我{long_past}的考勤
        look 3  我{long_past}迟到了几次
        look 2  {person}{long_past}(缺勤|请假|旷工)几天
        np   3  考勤记录
        np   2  {past}[的]打卡记录
        np   2  {team}{past}[的]考勤汇总
        look 2  我{long_past}上了多少天班
        look 2  {long_past}加了多少小时班
        look 2  (昨天|前天)谁没来
        do   2  导出~{long_past}[的]考勤表
        say  2  考勤不对，{past_day}我明明(打卡|上班)了
        look 2  {past_day}我有没有打卡
        np   2  {person}的出勤明细
        look 2  {long_past}全勤的有谁
        look 2  哪天算我旷工
        np   2  历史打卡时间
        look 2  我{long_past}缺卡几次
        np   2  {past_day}的考勤
        look 2  {past}有几个人迟到
        np   1  迟到早退统计
        do   2  核对~我{long_past}的工时
        look 1  {long_past}谁迟到最多
        yn   1  {long_past}我算不算全勤，有奖金
        np   1  我的attendance记录
        np   2  my attendance for {long_past}
        ask  2  how many days did I work {past}
        np   2  attendance records (for|of) {person}
        ask  2  was I marked late on {weekday}
        do   1  export the attendance sheet for {long_past}
        ask  1  who was absent yesterday
    """,
    unseen="""
        look 1  {long_past}扣了我几天
        np   1  出勤台账
        look 1  {person}{long_past}一共到岗几次
        np   1  my clock-in history
    """,
)

LEAVE_REQUEST = Phrasebook(
    SampleIntent(
        code="leave_request",
        name_en="Leave request",
        name_zh="请假",
        description_en="Ask for, change or follow one's own leave.",
        description_zh="自己要请假、调休、销假，或问请假的流程和审批结果。",
    ),
    traffic=5,
    templates="""
        do   3  请假
        do   3  请{days}天假
        say  3  我{future}想请假
        say  2  {future}有事来不了[，请个假]
        say  2  {ill}，请(半天|一天)假
        say  2  {errand}，请{days}天假
        ask  2  请假怎么(弄|申请|走流程|写)
        ask  2  请(病假|婚假|丧假|产假)要什么证明
        look 2  我的(请假|假条)批了没
        look 2  [我]年假还(有|剩)几天
        say  2  {future}(想|要|)调休
        do   2  申请{days}天(事假|病假|年假|调休)
        ask  2  请假找谁批
        yn   2  {future}能请假
        do   2  撤销~我的请假
        say  2  身体不舒服，(今天|明天)不来了
        say  2  想请两小时假去(办事|医院|接孩子)
        ask  2  请{days}天假扣多少钱
        say  2  还没好，再续{days}天假
        do   1  提交(请假条|请假单)
        say  1  {future}请个leave
        say  2  I need a day off {future}
        do   2  apply for (sick|annual) leave
        ask  2  how do I request leave
        ask  2  is my leave approved yet
        say  2  I'm sick, can't come {future}
        do   1  cancel my leave
    """,
    unseen="""
        say  1  {future}不来了，家里办喜事
        ask  1  休假流程是啥
        say  1  老板，准我{days}天假吧
        say  1  taking {weekday} off
    """,
)

WORK_SCHEDULE = Phrasebook(
    SampleIntent(
        code="work_schedule",
        name_en="Work schedule",
        name_zh="排班",
        description_en="Shifts, duty rosters, working hours and holidays that are "
        "planned.",
        description_zh="排班、值班、上下班时间、放假安排、换班。",
    ),
    traffic=5,
    templates="""
        look 3  我{future}(上|是)什么班
        np   3  (这周|下周|下个月)[的]排班[表]
        look 2  {future}谁(值班|上夜班)
        look 2  {person}下周是白班还是夜班
        ask  2  {shift}几点(上班|开始|结束)
        look 2  {future}(放不放假|休不休息)
        look 2  {holiday}(放几天假|怎么安排上班)
        np   2  {team}[的]班表
        do   2  跟{person}换~班
        yn   2  {future}要加班
        look 2  我下次休息是(哪天|什么时候)
        look 2  今晚(夜班|晚班)排了几个人
        np   2  值班表
        do   2  调~我{future}的班
        look 2  {team}{future}几个人上班
        ask  2  中午休息到几点
        look 2  {future}几点下班
        yn   2  我{future}休息
        say  2  排班错了吧，我{future}不该上夜班
        np   1  {holiday}值班安排
        np   1  下周的schedule
        ask  2  what shift am I on {future}
        np   2  next week's schedule
        ask  2  who is on the {shift} {future}
        ask  2  when does the {shift} start
        ask  1  do we work (on|this) {weekday}
        do   1  swap my shift with {person}
    """,
    unseen="""
        look 1  轮到我休息是星期几
        look 1  {future}我用不用来
        np   1  {team}倒班安排
        ask  1  am I off on {weekday}
    """,
)

ATTENDANCE = (
    CLOCK_IN,
    CLOCK_OUT,
    ATTENDANCE_TODAY,
    ATTENDANCE_RECORD,
    LEAVE_REQUEST,
    WORK_SCHEDULE,
)
