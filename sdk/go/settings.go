package recoil

import "strconv"

// Setting is what the operator has set for this app: the manifest's default, or what recoilctl install --set and recoilctl
// set changed. False if the manifest has no such setting. In a native test, recoiltest.SetSetting gives values.
func Setting(name string) (string, bool) { return setting(name) }

// IntSetting is the value of a setting whose default is a whole number.
func IntSetting(name string) (int64, bool) {
	text, _ := setting(name)
	value, err := strconv.ParseInt(text, 10, 64)
	return value, err == nil
}

// BoolSetting is the value of a setting whose default is true or false.
func BoolSetting(name string) (value, ok bool) {
	text, _ := setting(name)
	return text == "true", text == "true" || text == "false"
}
