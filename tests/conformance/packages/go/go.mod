module conformance-go

go 1.26

require recoil.dev/recoil v0.0.0

replace recoil.dev/recoil => ../../../../sdk/go
