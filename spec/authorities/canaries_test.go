package authorities_test

import "encoding/base64"

// What nobody may read where it is not meant to be.
const (
	canaryBasic    = "canary-basic-Vb3nM8qL"
	canaryDirector = "canary-director-Xc5kJ2wP"
)

func base64Of(secret string) string { return base64.StdEncoding.EncodeToString([]byte(secret)) }
