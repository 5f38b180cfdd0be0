// Package native holds what the host would, where there is none.
package native

import "sync"

var settings sync.Map // of string to string

// Setting is the value that a test gave.
func Setting(name string) (string, bool) {
	value, ok := settings.Load(name)
	text, _ := value.(string)
	return text, ok
}

// SetSetting gives a value, and answers how to take it back.
func SetSetting(name, value string) (restore func()) {
	before, ok := settings.Swap(name, value)
	return func() {
		if ok {
			settings.Store(name, before)
		} else {
			settings.Delete(name)
		}
	}
}
