package execution

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
