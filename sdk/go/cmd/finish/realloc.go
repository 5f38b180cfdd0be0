package main

import "fmt"

// reachedMax is how many functions cabi_realloc may consist of: those of internal/abi's arena.
const reachedMax = 8

// checkRealloc proves that `cabi_realloc` and `cabi_realloc_adapter` never leave the module, and so never enter Go's
// runtime: what they reach has no indirect call and no imported function. In the wrapper that Go puts around an export are
// three calls, of which only the one in the middle is followed: the first is behind `if SP == 0` (Go has not started), the
// last behind `if unwinding` (the function has switched goroutines, which functions without a stack check cannot).
func checkRealloc(m *module) (err error) {
	defer guard(&err)
	for _, name := range []string{"cabi_realloc", "cabi_realloc_adapter"} {
		wrapper, ok := m.function(name)
		if !ok {
			return fmt.Errorf("%s is not exported", name)
		}
		body, _ := m.body(wrapper)
		called, indirect := calls(body)
		if len(called) != 3 || indirect {
			return fmt.Errorf("%s is exported in an unknown way", name)
		}
		if err := m.checkClosed(name, called[1]); err != nil {
			return err
		}
	}
	return nil
}

// checkClosed proves that what a function reaches is in the module, and little.
func (m *module) checkClosed(name string, function uint64) error {
	seen := map[uint64]bool{}
	for todo := []uint64{function}; len(todo) > 0; {
		next := todo[0]
		todo = todo[1:]
		if seen[next] {
			continue
		}
		seen[next] = true
		if len(seen) > reachedMax {
			return fmt.Errorf("%s reaches more than %d functions", name, reachedMax)
		}
		body, ok := m.body(next)
		if !ok {
			return fmt.Errorf("%s reaches an imported function", name)
		}
		called, indirect := calls(body)
		if indirect {
			return fmt.Errorf("%s reaches an indirect call in %s", name, m.names[next])
		}
		todo = append(todo, called...)
	}
	return nil
}

// calls lists the functions that a body calls, in order, and whether it has an indirect call.
func calls(body []byte) (direct []uint64, indirect bool) {
	r := reader{body}
	for count := r.number(); count > 0; count-- { // local variables
		r.number()
		r.byte()
	}
	for len(r.rest) > 0 {
		switch op := r.byte(); {
		case op == 0x10: // call
			direct = append(direct, r.number())
		case op == 0x11: // call_indirect
			r.number()
			r.number()
			indirect = true
		case op >= 0x02 && op <= 0x04, // block, loop, if
			op == 0x0c || op == 0x0d, // br, br_if
			op >= 0x20 && op <= 0x24, // variables
			op >= 0x3f && op <= 0x42: // memory.size, memory.grow, constants
			r.skipNumber()
		case op == 0x0e: // br_table
			for count := r.number() + 1; count > 0; count-- {
				r.number()
			}
		case op >= 0x28 && op <= 0x3e: // loads and stores
			r.number()
			r.number()
		case op == 0x43: // f32.const
			r.take(4)
		case op == 0x44: // f64.const
			r.take(8)
		case op == 0xfc:
			skipBulk(&r)
		case op <= 0x01 || op == 0x05 || op == 0x0b || op == 0x0f || op == 0x1a || op == 0x1b || op >= 0x45 && op <= 0xc4:
			// nothing follows
		default:
			panic(fmt.Errorf("unknown instruction %#x", op))
		}
	}
	return direct, indirect
}

// skipBulk skips what follows 0xfc.
func skipBulk(r *reader) {
	switch op := r.number(); op {
	case 0, 1, 2, 3, 4, 5, 6, 7: // saturating conversions
	case 10: // memory.copy
		r.number()
		r.number()
	case 11: // memory.fill
		r.number()
	default:
		panic(fmt.Errorf("unknown instruction 0xfc %d", op))
	}
}
