package manifest

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cloudfoundry/config-server/types"
	"github.com/serviceforge/serviceforge/localbosh/bosherr"
)

// Options of each type of variable that a config server takes; others, which only CredHub knows, are left out.
var generatorOptions = map[string][]string{
	"password":    {"length"},
	"certificate": {"common_name", "organization", "alternative_names", "is_ca", "ca", "extended_key_usage", "duration"},
	"ssh":         nil,
	"rsa":         nil,
}

// Generate makes the value of a variable that a config server does not have yet, in the form it is stored: a
// string (password), or a map (certificate: ca, certificate, private_key; ssh: private_key, public_key,
// public_key_fingerprint; rsa: private_key, public_key; user: username, password). ca is asked, by absolute name,
// for the certificate named by options.ca, which the caller makes absolute. The error is 540005, with v's name.
func Generate(v Variable, ca Lookup) (any, error) {
	value, err := generate(v, ca)
	if err != nil {
		return nil, bosherr.New(bosherr.ConfigServerGenerationError, "Config Server failed to generate value for '%s' with type '%s'. HTTP Code '400', Error: '%s'", v.Name, v.Type, err)
	}
	return value, nil
}

// NoConfigServer is the director's error for `variables:` when it has no config server; name is absolute.
func NoConfigServer(name string) error {
	return bosherr.New(bosherr.ConfigServerDisabled, "Failed to generate variable '%s' from config server: Director is not configured with a config server", name)
}

func generate(v Variable, ca Lookup) (any, error) {
	if v.Type == "user" {
		password, err := generate(Variable{Type: "password", Options: v.Options}, nil)
		name := rubyString(v.Options["username"])
		if name == "" && err == nil {
			var user any
			user, err = generate(Variable{Type: "password"}, nil)
			name, _ = user.(string)
		}
		return map[string]any{"username": name, "password": password}, err
	}
	known, ok := generatorOptions[v.Type]
	if !ok {
		return nil, fmt.Errorf("Unsupported value type: %s", v.Type)
	}
	g, err := types.NewValueGeneratorConcrete(certificates{ca}).GetGenerator(v.Type)
	if err != nil {
		return nil, err
	}
	options := maps.Clone(v.Options)
	maps.DeleteFunc(options, func(k string, _ any) bool { return !slices.Contains(known, k) })
	out, err := g.Generate(optionsOrNil(options))
	if err != nil {
		return nil, err
	}
	switch o := out.(type) {
	case types.CertResponse:
		return map[string]any{"ca": o.CA, "certificate": o.Certificate, "private_key": o.PrivateKey}, nil
	case types.SSHKey:
		return map[string]any{"private_key": o.PrivateKey, "public_key": o.PublicKey, "public_key_fingerprint": o.PublicKeyFingerprint}, nil
	case types.RSAKey:
		return map[string]any{"private_key": o.PrivateKey, "public_key": o.PublicKey}, nil
	}
	return out, nil
}

// optionsOrNil turns empty options into what the generators take for none.
func optionsOrNil(m map[string]any) any {
	if len(m) == 0 {
		return nil
	}
	return m
}

// certificates hands stored certificates to the generator.
type certificates struct{ lookup Lookup }

// LoadCerts returns the certificate and key stored under name.
func (c certificates) LoadCerts(name string) (*x509.Certificate, *rsa.PrivateKey, error) {
	if c.lookup == nil {
		return nil, nil, errors.New("no certificates are stored")
	}
	v, found, err := c.lookup(name)
	m, ok := v.(map[string]any)
	switch {
	case err != nil:
		return nil, nil, err
	case !found:
		return nil, nil, fmt.Errorf("Name '%s' not found", name)
	case !ok:
		return nil, nil, fmt.Errorf("'%s' is not a certificate", name)
	}
	cert, _ := pem.Decode([]byte(rubyString(m["certificate"])))
	key, _ := pem.Decode([]byte(rubyString(m["private_key"])))
	if cert == nil || key == nil {
		return nil, nil, fmt.Errorf("'%s' is not a certificate with its key", name)
	}
	crt, err := x509.ParseCertificate(cert.Bytes)
	if err != nil {
		return nil, nil, err
	}
	priv, err := x509.ParsePKCS1PrivateKey(key.Bytes)
	return crt, priv, err
}
