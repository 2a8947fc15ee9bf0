package sshconfig

import "io/fs"

// checkOwner can't judge Windows' access lists and lets every file pass.
func checkOwner(string, fs.FileInfo) error { return nil }
