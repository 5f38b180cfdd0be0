module recoil.dev/recoil

go 1.26
