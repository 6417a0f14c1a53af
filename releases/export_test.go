package releases

import (
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
