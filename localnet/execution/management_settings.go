package execution

import (
	"context"
	"math/big"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/icrelay/icrelay/candid"
)

const (
	maxControllers  = 10
	maxViewers      = 10
	maxEnvironment  = 20
	maxEnvValue     = 128
	maxMemoryLimit  = 1 << 48
	maxLogMemory    = 2 << 20
	maxPercentages  = 100
	maxSettingsBits = 128
)

func invalidSettings(format string, args ...any) *Reject {
	r := reject(icInvalidManagement, format, args...)
	r.Text = "Could not validate the settings: " + r.Text
	return r
}

// newSettings are settings read from an argument. controllers is nil if they do not change.
type newSettings struct {
	settings
	controllers []candid.Principal
}

// readSettings reads the field "settings", whose fields are all optional, over what there is.
func (call *managementCall) readSettings(old settings) (newSettings, *Reject) {
	set := newSettings{settings: old}
	v, ok := call.arg.Field("settings").Opt()
	if !ok {
		return set, nil
	}
	if v.Kind() != candid.KindRecord {
		return set, missing("settings")
	}
	if f, ok := v.Field("controllers").Opt(); ok {
		if set.controllers, ok = principals(f); !ok {
			return set, missing("controllers")
		}
		if len(set.controllers) > maxControllers {
			return set, invalidSettings("Invalid settings: 'controllers' length exceeds maximum size allowed of %d.", maxControllers)
		}
	}
	for _, n := range []struct {
		label string
		to    **big.Int
		most  *big.Int
	}{
		{"compute_allocation", &set.computeAllocation, big.NewInt(maxPercentages)},
		{"memory_allocation", &set.memoryAllocation, new(big.Int).SetUint64(^uint64(0))},
		{"freezing_threshold", &set.freezingThreshold, new(big.Int).SetUint64(^uint64(0))},
		{"reserved_cycles_limit", &set.reservedLimit, nil},
		{"minimum_incoming_canister_call_cycles", &set.minimumCallCycles, nil},
		{"wasm_memory_limit", &set.wasmMemoryLimit, big.NewInt(maxMemoryLimit)},
		{"wasm_memory_threshold", &set.wasmMemoryThreshold, big.NewInt(maxMemoryLimit)},
		{"log_memory_limit", &set.logMemoryLimit, big.NewInt(maxLogMemory)},
	} {
		f, ok := v.Field(n.label).Opt()
		if !ok {
			continue
		}
		number, ok := f.Big()
		if !ok || number.Sign() < 0 {
			return set, missing(n.label)
		}
		if number.BitLen() > maxSettingsBits || n.most != nil && number.Cmp(n.most) > 0 {
			return set, invalidSettings("%s is out of range: %v", n.label, number)
		}
		*n.to = number
	}
	for _, f := range []struct {
		label string
		to    *visibility
	}{
		{"log_visibility", &set.logVisibility}, {"snapshot_visibility", &set.snapshotVisibility}, {"status_visibility", &set.statusVisibility},
	} {
		if x, ok := v.Field(f.label).Opt(); ok {
			vis, rej := readVisibility(f.label, x)
			if rej != nil {
				return set, rej
			}
			*f.to = vis
		}
	}
	if f, ok := v.Field("environment_variables").Opt(); ok {
		vars, rej := readEnvironment(f)
		if rej != nil {
			return set, rej
		}
		set.environment = vars
	}
	return set, nil
}

func principals(v candid.Value) ([]candid.Principal, bool) {
	items, ok := v.Vec()
	if !ok {
		return nil, false
	}
	out := make([]candid.Principal, 0, len(items))
	for _, i := range items {
		p, ok := i.Principal()
		if !ok {
			return nil, false
		}
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out, true
}

func readVisibility(label string, v candid.Value) (visibility, *Reject) {
	if _, ok := v.Tag("controllers"); ok {
		return visibility{}, nil
	}
	if _, ok := v.Tag("public"); ok {
		return visibility{public: true}, nil
	}
	if list, ok := v.Tag("allowed_viewers"); ok {
		if ps, ok := principals(list); ok {
			if len(ps) > maxViewers {
				return visibility{}, invalidSettings("Invalid settings: 'allowed_viewers' length exceeds maximum size allowed of %d.", maxViewers)
			}
			return visibility{viewers: ps, listed: true}, nil
		}
	}
	return visibility{}, missing(label)
}

func readEnvironment(v candid.Value) ([]envVar, *Reject) {
	items, ok := v.Vec()
	if !ok {
		return nil, missing("environment_variables")
	}
	if len(items) > maxEnvironment {
		return nil, invalidSettings("Too many environment variables: %d (max: %d)", len(items), maxEnvironment)
	}
	out := make([]envVar, 0, len(items))
	for _, i := range items {
		name, ok := i.Field("name").Text()
		value, ok2 := i.Field("value").Text()
		if !ok || !ok2 || !utf8.ValidString(name) {
			return nil, missing("environment_variables")
		}
		out = append(out, envVar{name, value})
	}
	return out, checkEnvironment(out)
}

// checkEnvironment sorts the variables by name, and says what is wrong with them.
func checkEnvironment(vars []envVar) *Reject {
	slices.SortFunc(vars, func(a, b envVar) int { return strings.Compare(a.name, b.name) })
	for i, v := range vars {
		switch {
		case len(v.name) > maxEnvName:
			return invalidSettings("Environment variable name \"%s\" exceeds the maximum length of %d.", v.name, maxEnvName)
		case len(v.value) > maxEnvValue:
			return invalidSettings("Environment variable value \"%s\" exceeds the maximum length of %d.", v.value, maxEnvValue)
		case i > 0 && vars[i-1].name == v.name:
			return invalidSettings("Duplicate environment variables are not allowed.")
		}
	}
	return nil
}

// SetEnvironment replaces a canister's environment variables, by name, as
// update_settings does, but for anybody and any number of them.
func (m *Machine) SetEnvironment(ctx context.Context, id candid.Principal, variables map[string]string) error {
	vars := make([]envVar, 0, len(variables))
	for name, value := range variables {
		vars = append(vars, envVar{name, value})
	}
	if rej := checkEnvironment(vars); rej != nil {
		return rej
	}
	return m.manage(ctx, id, func(c *canister) *Reject {
		c.settings.environment = vars
		c.version++
		m.touch()
		return nil
	})
}

func (v visibility) allows(p candid.Principal) bool {
	return v.public || v.listed && slices.Contains(v.viewers, p)
}

func (call *managementCall) updateSettings() ([]byte, *Reject) {
	c, rej := call.controlled()
	if rej != nil {
		return nil, rej
	}
	set, rej := call.readSettings(c.settings)
	if rej != nil {
		return nil, rej
	}
	c.settings = set.settings
	c.version++
	if set.controllers != nil {
		c.controllers = set.controllers
		c.record(call.change("controllers_change", candid.Fields{"controllers": set.controllers}))
	}
	call.m.touch()
	return candidEmpty, nil
}
