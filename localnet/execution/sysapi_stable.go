package execution

import "errors"

// stableAPI: stable memory (interface specification, "Stable memory").
var stableAPI = []systemFunction{
	{"stable64_size", "", "l", modeAll, func(e *env, s []uint64) error {
		s[0] = e.stable.pages
		return nil
	}},
	{"stable64_grow", "l", "l", modeAll, func(e *env, s []uint64) error {
		if old, ok := e.stable.grow(s[0]); ok {
			s[0] = old
		} else {
			s[0] = ^uint64(0)
		}
		return nil
	}},
	{"stable64_read", "lll", "", modeAll, func(e *env, s []uint64) error {
		return e.stableRead("stable64_read", s[0], s[1], s[2])
	}},
	{"stable64_write", "lll", "", modeAll, func(e *env, s []uint64) error {
		return e.stableWrite("stable64_write", s[0], s[1], s[2])
	}},
	{"stable_size", "", "i", modeAll, func(e *env, s []uint64) error {
		s[0] = e.stable.pages
		return e.check32()
	}},
	{"stable_grow", "i", "i", modeAll, func(e *env, s []uint64) error {
		if err := e.check32(); err != nil {
			return err
		}
		n := s[0]
		s[0] = ^uint64(0)
		if e.stable.pages+n <= maxStable32Size {
			if old, ok := e.stable.grow(n); ok {
				s[0] = old
			}
		}
		return nil
	}},
	{"stable_read", "iii", "", modeAll, func(e *env, s []uint64) error {
		if err := e.check32(); err != nil {
			return err
		}
		return e.stableRead("stable_read", s[0], s[1], s[2])
	}},
	{"stable_write", "iii", "", modeAll, func(e *env, s []uint64) error {
		if err := e.check32(); err != nil {
			return err
		}
		return e.stableWrite("stable_write", s[0], s[1], s[2])
	}},
}

func (e *env) check32() error {
	if e.stable.pages > maxStable32Size {
		return &trapped{"32 bit stable memory api used on a memory larger than 4GB"}
	}
	return nil
}

func (e *env) stableRead(name string, dst, offset, size uint64) error {
	to, err := e.writableAt(name, dst, size)
	if err != nil {
		return &trapped{"heap out of bounds"}
	}
	return stableError(e.stable.read(to, offset))
}

func (e *env) stableWrite(name string, offset, src, size uint64) error {
	from, err := e.bytesAt(name, src, size)
	if err != nil {
		return &trapped{"heap out of bounds"}
	}
	return stableError(e.stable.write(offset, from))
}

func stableError(err error) error {
	if errors.Is(err, errStableFull) {
		return &coded{icOutOfMemory, err.Error(), "Check the canister's memory usage against its allocation and the system wide limits to determine why more memory cannot be allocated. See documentation: " + docExecutionErrors + "out-of-memory"}
	}
	if err != nil {
		return &trapped{err.Error()}
	}
	return nil
}
