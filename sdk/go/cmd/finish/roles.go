package main

import (
	"errors"
	"slices"
)

// registrars are the functions that register a role, by the export that the role has. The linker keeps a function only if
// the program can reach it, so that its name tells whether main registers the role. In names it writes _ for whatever is
// neither a letter, a digit nor a dot.
var registrars = map[string]string{
	"recoil:plugin/handler@0.1.0#handle":      "recoil.dev_recoil.Handler",
	"recoil:plugin/timer@0.1.0#fire":          "recoil.dev_recoil.Timer",
	"recoil:plugin/tcp-listener@0.1.0#serve":  "recoil.dev_recoil.Listener",
	"recoil:plugin/http-handler@0.1.0#handle": "recoil.dev_recoil.HTTPHandler",
	"recoil:plugin/admin@0.1.0#commands":      "recoil.dev_recoil.Admin",
	"recoil:plugin/admin@0.1.0#run":           "recoil.dev_recoil.Admin",
	"recoil:plugin/scheduler@0.1.0#plan":      "recoil.dev_recoil.Scheduler",
}

// dropUnregistered drops the exports of roles that the program does not register.
func dropUnregistered(m *module) error {
	linked := map[string]bool{}
	for _, name := range m.names {
		linked[name] = true
	}
	if !linked[registrars["recoil:plugin/handler@0.1.0#handle"]] && !linked[registrars["recoil:plugin/scheduler@0.1.0#plan"]] {
		return errors.New("main registers no handler, which every package has but one that is only a scheduler: call recoil.Handler in main, and whatever else the package shall be")
	}
	m.exports = slices.DeleteFunc(m.exports, func(e export) bool {
		registrar, isRole := registrars[e.name]
		return isRole && !linked[registrar]
	})
	return nil
}
