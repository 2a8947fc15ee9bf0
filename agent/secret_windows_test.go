package agent

// gone says whether a secret was overwritten.
func gone(s *secret) bool {
	for _, b := range s.b {
		if b != 0 {
			return false
		}
	}
	return true
}
