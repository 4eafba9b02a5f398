package execution

import "github.com/icrelay/icrelay/candid"

// canisterLog keeps the end of what a canister printed.
type canisterLog struct {
	records []logRecord
	bytes   int
	next    uint64
}

type logRecord struct {
	index   uint64
	time    uint64
	content []byte
}

// logLimit is how many bytes of its log are kept: the setting log_memory_limit,
// which tools write and read although the interface specification does not have it yet.
func (m *Machine) logLimit(c *canister) int {
	if n := c.settings.logMemoryLimit; n != nil {
		return int(n.Int64())
	}
	return m.limits.LogBytes
}

func (l *canisterLog) add(time uint64, content []byte, limit int) {
	if len(content) > limit {
		content = content[:limit]
	}
	l.records = append(l.records, logRecord{l.next, time, append([]byte(nil), content...)})
	l.next++
	l.bytes += len(content)
	drop := 0
	for l.bytes > limit || len(l.records)-drop > 1000 {
		l.bytes -= len(l.records[drop].content)
		drop++
	}
	if drop > 0 {
		l.records = append([]logRecord(nil), l.records[drop:]...)
	}
}

// readLogFilter reads the optional filter of fetch_canister_logs, with which
// tools follow a log: a range of indices or of times, without its end.
func readLogFilter(v candid.Value) (func(logRecord) bool, *Reject) {
	filter, ok := v.Opt()
	if !ok {
		return func(logRecord) bool { return true }, nil
	}
	of := func(r logRecord) uint64 { return r.index }
	bounds, ok := filter.Tag("by_idx")
	if !ok {
		of = func(r logRecord) uint64 { return r.time }
		bounds, ok = filter.Tag("by_timestamp_nanos")
	}
	start, ok2 := bounds.Field("start").Uint64()
	end, ok3 := bounds.Field("end").Uint64()
	if !ok || !ok2 || !ok3 {
		return nil, missing("filter")
	}
	return func(r logRecord) bool { return start <= of(r) && of(r) < end }, nil
}
