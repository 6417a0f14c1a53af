package authorities_test

// What nobody may read where it is not meant to be.
const (
	canaryBasic    = "canary-basic-Vb3nM8qL"
	canaryDirector = "canary-director-Xc5kJ2wP"
)
