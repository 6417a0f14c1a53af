package releases_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"reflect"
	"regexp"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases"
)

type etcdSecrets struct {
	RootPassword string `json:"root_password"`
	ClusterToken string `json:"cluster_token"`
	CA, Peer     struct {
		CA          string `json:"ca"`
		Certificate string `json:"certificate"`
		PrivateKey  string `json:"private_key"`
	}
}

func newSecrets(t *testing.T, in releases.Input) etcdSecrets {
	t.Helper()
	text, err := load(t, releases.Etcd()).NewSecrets(in)
	if err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	var s etcdSecrets
	if err := json.Unmarshal([]byte(text.Reveal()), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNewSecrets(t *testing.T) {
	in := etcdInput(t, threeServer)
	in.Instance.Deployment, in.Instance.Secrets = "etcd-A_b.c", serviceforge.Secret{}
	a, b := newSecrets(t, in), newSecrets(t, in)
	word := regexp.MustCompile(`^[A-Za-z0-9]+$`)
	if len(a.RootPassword) != 32 || len(a.ClusterToken) != 24 || !word.MatchString(a.RootPassword+a.ClusterToken) {
		t.Errorf("passwords of %d and %d characters", len(a.RootPassword), len(a.ClusterToken))
	}
	if a.RootPassword == b.RootPassword || a.CA.Certificate == b.CA.Certificate || a.CA.PrivateKey == b.CA.PrivateKey {
		t.Error("two instances share a secret")
	}
	pair, err := tls.X509KeyPair([]byte(a.Peer.Certificate), []byte(a.Peer.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if _, err := leaf.Verify(x509.VerifyOptions{
			Roots: poolOf(a.CA.Certificate), DNSName: "q-s0.etcd.default.etcd-a-bc.bosh", KeyUsages: []x509.ExtKeyUsage{usage},
		}); err != nil {
			t.Error(err)
		}
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: poolOf(b.CA.Certificate)}); err == nil {
		t.Error("another instance's CA vouches for it")
	}
	if a.Peer.CA != a.CA.Certificate {
		t.Error("peer.ca is not the CA's certificate")
	}
}

// An upgrade adds what the newer release asks for, and keeps the rest: a CA goes
// on to sign.
func TestAnUpgradeAddsSecrets(t *testing.T) {
	release := func(more string) *releases.Release {
		return load(t, small("a: 1", "parameters:", "secrets:\n      ca: {type: certificate, is_ca: true, common_name: ca}\n"+more+"  parameters:"))
	}
	in := smallInput(t, "")
	before, err := release("").NewSecrets(in)
	if err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	in.Instance.Secrets = before
	if same, err := release("").NewSecrets(in); err != nil || same.Reveal() != before.Reveal() {
		t.Errorf("nothing is lacking, and other secrets are made: %v", err)
	}
	after, err := release("      leaf: {type: certificate, ca: ca, common_name: leaf, alternative_names: [leaf.name]}\n      word: {type: password, length: 20}\n").NewSecrets(in)
	if err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	var had, has map[string]any
	for text, into := range map[string]*map[string]any{before.Reveal(): &had, after.Reveal(): &has} {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(had["ca"], has["ca"]) || len(has["word"].(string)) != 20 {
		t.Errorf("the CA was made anew, or a secret is missing: %v", len(has))
	}
	block, _ := pem.Decode([]byte(has["leaf"].(map[string]any)["certificate"].(string)))
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: poolOf(had["ca"].(map[string]any)["certificate"].(string)), DNSName: "leaf.name", KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		t.Error(err)
	}
}

func poolOf(text string) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(text))
	return pool
}

func TestAlternativeNames(t *testing.T) {
	files := small("a: 1", "parameters:", `secrets:
      ca: {type: certificate, is_ca: true, common_name: ca}
      leaf: {type: certificate, ca: ca, common_name: leaf, alternative_names: [plain.name, 10.0.0.1, '(( "x." sf.pool.network ".y" ))']}
  parameters:`)
	text, err := load(t, files).NewSecrets(smallInput(t, ""))
	if err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	var s map[string]map[string]string
	if err := json.Unmarshal([]byte(text.Reveal()), &s); err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(s["leaf"]["certificate"]))
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"plain.name", "10.0.0.1", "x.default.y"} {
		if err := leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if leaf.IsCA {
		t.Error("the leaf is a CA")
	}
}
