package setup

import "io/fs"

// tooOpen can't judge Windows' access lists and lets every file pass.
func tooOpen(string, fs.FileInfo) error { return nil }
