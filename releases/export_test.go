package releases

import (
	"context"
	"reflect"
)

// ServiceFile is what service.yml is read into.
var ServiceFile = reflect.TypeFor[serviceFile]()

// Snippet is a part of it that Spiff renders before it is read; UsersSection is
// what users is read into then.
var (
	Snippet      = reflect.TypeFor[snippet]()
	UsersSection = reflect.TypeFor[accessUsers]()
)

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

// Run has s render one template, which Load never saw.
func Run(ctx context.Context, s *Spiff, template string) (any, error) {
	a, err := s.render(ctx, order{Documents: []document{{Name: "t", Data: template}}})
	if err != nil {
		return nil, err
	}
	return a.Result, nil
}
