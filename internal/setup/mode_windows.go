package setup

// tooOpen can't judge Windows' access lists and lets every file pass.
func tooOpen(string) error { return nil }
