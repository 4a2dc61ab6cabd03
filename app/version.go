package app

// Version is set by the build.
var Version = "dev" //nolint:gochecknoglobals // written by the linker
