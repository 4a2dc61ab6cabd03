package twin

import "regexp"

// inChinese says in Chinese what a reader says of rows in English. Names of columns stay as they are.
func inChinese(s string) string {
	for _, x := range []struct{ en, zh string }{
		{`^a row that is no CSV$`, `不是 CSV 的行`},
		{`^more columns than the header$`, `列数多于表头`},
		{`^an id that was there before$`, `id 重复`},
		{`^it runs for more than ten years$`, `运行超过十年`},
		{`^no (.+)$`, `缺少 $1`},
		{`^(.+) is no number$`, `$1 不是数字`},
		{`^(.+) is negative$`, `$1 为负数`},
		{`^(.+) is zero$`, `$1 为零`},
		{`^(.+) is beyond (.+)$`, `$1 超过 $2`},
		{`^(.+) is no date$`, `$1 不是日期`},
		{`^(.+) is no time$`, `$1 不是时间`},
		{`^(.+) is no size$`, `$1 不是容量`},
		{`^(.+) is no positive whole number$`, `$1 不是正整数`},
		{`^(.+) is no whole number$`, `$1 不是整数`},
		{`^(.+) is before (.+)$`, `$1 早于 $2`},
		{`^(.+) is not after its start$`, `$1 不晚于开始时间`},
		{`^(.+) is not after (.+)$`, `$1 不晚于 $2`},
		{`^(\d+) jobs of more than (\d+) accelerators take whole nodes$`, `$1 个超过 $2 张加速卡的作业占用整个节点`},
		{`^(\d+) pods that were never scheduled work from creation to deletion$`, `$1 个从未被调度的 Pod 按从创建到删除计算`},
	} {
		if re := regexp.MustCompile(x.en); re.MatchString(s) {
			return re.ReplaceAllString(s, x.zh)
		}
	}
	return s
}
