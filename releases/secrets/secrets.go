// Package secrets makes passwords, keys and certificates, as service.yml wants
// them.
package secrets

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"maps"
	"math/big"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases/trees"
)

// Spec is one entry of service.yml's secrets.
type Spec struct {
	Type   string `yaml:"type"`   // password, certificate, rsa, ssh or user
	Store  string `yaml:"store"`  // broker or director
	Length int    `yaml:"length"` // of a password; default 32, at least 16

	IsCA             bool     `yaml:"is_ca"`
	CA               string   `yaml:"ca"` // name of the secret that signs it; empty = itself
	CommonName       string   `yaml:"common_name"`
	AlternativeNames []string `yaml:"alternative_names"` // texts, or (( "text" sf.path "text" ))
	Usage            []string `yaml:"usage"`             // server_auth, client_auth
	Duration         int      `yaml:"duration"`          // days; default 365
	Username         string   `yaml:"username"`          // of a user
}

// Order checks the secrets of a service and returns the order in which those of
// the broker are made: CAs first. Errors: Invalid.
func Order(specs map[string]Spec) (order []string, err error) {
	names := slices.Sorted(maps.Keys(specs))
	for _, cas := range []bool{true, false} {
		for _, name := range names {
			spec := specs[name]
			if spec.IsCA != cas {
				continue
			}
			if err := spec.check(name, specs); err != nil {
				return nil, err
			}
			if spec.Store != "director" {
				order = append(order, name)
			}
		}
	}
	return order, nil
}

func (spec Spec) check(name string, all map[string]Spec) error {
	switch spec.Type {
	case "password":
		if spec.Length != 0 && (spec.Length < 16 || spec.Length > 1024) {
			return serviceforge.Errorf(serviceforge.Invalid, "secrets.%s: length must be 16 to 1024", name)
		}
		return nil
	case "rsa", "ssh", "user":
		return nil
	}
	switch {
	case spec.CommonName == "":
		return serviceforge.Errorf(serviceforge.Invalid, "secrets.%s: common_name is missing", name)
	case spec.Duration < 0:
		return serviceforge.Errorf(serviceforge.Invalid, "secrets.%s: duration must not be negative", name)
	case spec.IsCA && spec.CA != "":
		return serviceforge.Errorf(serviceforge.Invalid, "secrets.%s: a CA signs itself", name)
	case !spec.IsCA && (!all[spec.CA].IsCA || (all[spec.CA].Store == "director") != (spec.Store == "director")):
		return serviceforge.Errorf(serviceforge.Invalid, "secrets.%s: ca must name a secret with is_ca, of the same store", name)
	}
	for _, usage := range spec.Usage {
		if _, ok := usages[usage]; !ok {
			return serviceforge.Errorf(serviceforge.Invalid, "secrets.%s: usage must be server_auth or client_auth", name)
		}
	}
	for _, alternative := range spec.AlternativeNames {
		if _, ok := tokens(alternative); !ok {
			return serviceforge.Errorf(serviceforge.Invalid, `secrets.%s: an alternative name is a text, or (( "text" sf.path "text" ))`, name)
		}
	}
	return nil
}

var usages = map[string]x509.ExtKeyUsage{
	"server_auth": x509.ExtKeyUsageServerAuth,
	"client_auth": x509.ExtKeyUsageClientAuth,
}

// pair is a certificate that was made, to sign others with.
type pair struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// Make makes the secret of that name; its CA is among those that are there.
func Make(specs map[string]Spec, name string, sf, there map[string]any) (any, error) {
	spec := specs[name]
	if spec.Type != "certificate" {
		return spec.make()
	}
	var signer pair
	var ca string
	if spec.CA != "" {
		entry, _ := there[spec.CA].(map[string]any)
		ca, _ = entry["certificate"].(string)
		key, _ := entry["private_key"].(string)
		both, err := tls.X509KeyPair([]byte(ca), []byte(key))
		if err != nil {
			return nil, err
		}
		signer.cert = both.Leaf
		signer.key, _ = both.PrivateKey.(crypto.Signer)
	}
	made, err := certificate(spec, sf, signer)
	if err != nil {
		return nil, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(made.key)
	if err != nil {
		return nil, err
	}
	entry := map[string]any{"certificate": pemText("CERTIFICATE", made.cert.Raw), "private_key": pemText("PRIVATE KEY", key)}
	if spec.CA != "" {
		entry["ca"] = ca
	}
	return entry, nil
}

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// password returns random letters and digits: nothing that Spiff, YAML, a URL
// or a shell would read otherwise.
func password(length int) string {
	if length == 0 {
		length = 32
	}
	out := make([]byte, 0, length)
	for buf := make([]byte, 2*length); len(out) < length; {
		_, _ = rand.Read(buf) // never fails (crypto/rand)
		for _, b := range buf {
			if int(b) < 256/len(letters)*len(letters) && len(out) < length { // no letter is likelier
				out = append(out, letters[int(b)%len(letters)])
			}
		}
	}
	return string(out)
}

// certificate makes an ECDSA P-256 certificate; a zero signer = self-signed.
func certificate(spec Spec, sf map[string]any, signer pair) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return pair{}, err
	}
	days := spec.Duration
	if days == 0 {
		days = 365
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: spec.CommonName, Organization: []string{"serviceforge"}},
		NotBefore:    now.Add(-time.Hour), // the VMs' clocks may lag
		NotAfter:     now.AddDate(0, 0, days),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	if spec.IsCA {
		template.IsCA, template.BasicConstraintsValid = true, true
		template.KeyUsage |= x509.KeyUsageCertSign | x509.KeyUsageCRLSign
		template.MaxPathLenZero = true // it signs no further CAs
	}
	for _, usage := range spec.Usage {
		template.ExtKeyUsage = append(template.ExtKeyUsage, usages[usage])
	}
	for _, alternative := range spec.AlternativeNames {
		name, err := evaluate(alternative, sf)
		if err != nil {
			return pair{}, err
		}
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	if signer.key == nil {
		signer = pair{cert: template, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer.cert, key.Public(), signer.key)
	if err != nil {
		return pair{}, err
	}
	cert, err := x509.ParseCertificate(der)
	return pair{cert: cert, key: key}, err
}

func pemText(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

var (
	expression = regexp.MustCompile(`^\(\((.*)\)\)$`)
	token      = regexp.MustCompile(`^\s*(?:"([^"\\]*)"|sf((?:\.[a-z0-9_]+)+))`)
)

// tokens splits an alternative name: Spiff's concatenation of texts and values,
// and no more of Spiff, so that secrets are made without a child.
func tokens(text string) ([][]string, bool) {
	m := expression.FindStringSubmatch(text)
	if m == nil {
		return [][]string{{"", text, ""}}, !strings.Contains(text, "((")
	}
	var out [][]string
	rest := m[1]
	for strings.TrimSpace(rest) != "" {
		t := token.FindStringSubmatch(rest)
		if t == nil {
			return nil, false
		}
		out = append(out, t)
		rest = rest[len(t[0]):]
	}
	return out, len(out) > 0
}

func evaluate(text string, sf map[string]any) (string, error) {
	parts, ok := tokens(text)
	if !ok {
		return "", serviceforge.Errorf(serviceforge.Invalid, "%q is not a concatenation of texts and sf values", text)
	}
	var out strings.Builder
	for _, t := range parts {
		if t[2] == "" {
			out.WriteString(t[1])
			continue
		}
		value, ok := trees.Leaf(sf, strings.Split(t[2][1:], "."))
		if !ok {
			return "", serviceforge.Errorf(serviceforge.Invalid, "sf%s is not known when secrets are made", t[2])
		}
		out.WriteString(value)
	}
	return out.String(), nil
}
