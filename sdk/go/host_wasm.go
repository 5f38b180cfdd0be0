package recoil

import "recoil.dev/recoil/internal/abi"

//go:wasmimport recoil:plugin/settings@0.1.0 get
//go:noescape
func settingsGet(name string, result *[3]uint32)

//go:wasmimport recoil:plugin/log@0.1.0 write
//go:noescape
func logWrite(level uint32, message string)

func setting(name string) (string, bool) {
	var result [3]uint32
	abi.Enter()
	defer abi.Leave()
	settingsGet(abi.Text(name), &result)
	if abi.Tag(result[0]) == 0 {
		return "", false
	}
	return abi.String(result[1], result[2]), true
}

func writeLog(level Level, message string) {
	logWrite(uint32(min(level, LevelError)), abi.Text(message))
}
