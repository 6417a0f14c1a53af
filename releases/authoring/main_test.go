package authoring_test

import (
	"testing"

	"github.com/serviceforge/serviceforge/spec/spiff"
)

func TestMain(m *testing.M) { spiff.Main(m) }
