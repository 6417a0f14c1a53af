package releases

// Always makes a renderer that never uses compiled plans.
func Always(s *Spiff) *Spiff {
	s.always = true
	return s
}

// Impure returns why plans that s rendered are not compiled.
func Impure(s *Spiff) (out []string) {
	s.plans.mu.Lock()
	defer s.plans.mu.Unlock()
	for _, key := range s.plans.uses {
		if why := s.plans.made[key].impure; why != "" {
			out = append(out, why)
		}
	}
	return out
}
