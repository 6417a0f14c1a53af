package localbosh

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/serviceforge/serviceforge/localbosh/durable"
)

// identity is what a director keeps of itself.
type identity struct {
	UUID     string `json:"uuid"`
	User     string `json:"user"`
	Password string `json:"password"`
}

// openIdentity reads the identity in file, or makes it; user and password of the
// options win over the stored ones.
func openIdentity(file string, o Options) (identity, error) {
	var id identity
	err := durable.ReadJSON(file, &id)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return id, fmt.Errorf("identity of the director: %w", err)
	}
	before := id
	if id.UUID == "" {
		b := random(16)
		b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
		id.UUID = fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
	}
	id.User = o.User
	switch {
	case o.Password != "":
		id.Password = o.Password
	case id.Password == "":
		id.Password = hex.EncodeToString(random(20))
	}
	if id == before {
		return id, nil
	}
	return id, durable.WriteJSON(file, id, durable.Power)
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return b
}

// lifetime is how long the director's certificates are good for: nobody renews
// them on a laptop.
const lifetime = 10 * 365 * 24 * time.Hour

// authority is the director's own CA with the certificate of its API.
type authority struct {
	pem    []byte
	server *tls.Config
}

// openAuthority reads the CA kept in dir, or makes it, and issues a certificate
// for the address of the API. Only the CA is kept: a certificate is cheap.
func openAuthority(dir string, addr net.Addr) (*authority, error) {
	certFile, keyFile := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca.key")
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeAuthority(certFile, keyFile); err != nil {
			return nil, fmt.Errorf("CA of the director: %w", err)
		}
		pair, err = tls.LoadX509KeyPair(certFile, keyFile)
	}
	if err != nil {
		return nil, fmt.Errorf("CA of the director: %w", err)
	}
	cert, err := issue(pair, addr)
	if err != nil {
		return nil, fmt.Errorf("certificate of the director: %w", err)
	}
	text, err := os.ReadFile(certFile)
	if err != nil {
		return nil, fmt.Errorf("CA of the director: %w", err)
	}
	return &authority{pem: text, server: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}}, nil
}

func makeAuthority(certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	t := template("serviceforge director CA")
	t.IsCA, t.BasicConstraintsValid, t.MaxPathLenZero = true, true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	// The key comes first: a certificate without its key would be kept for ever.
	err = durable.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), durable.Power)
	if err != nil {
		return err
	}
	return durable.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), durable.Power)
}

func template(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(random(16)),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(lifetime),
	}
}

// issue makes a server certificate for loopback and for addr.
func issue(ca tls.Certificate, addr net.Addr) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	t := template("serviceforge director")
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	t.DNSNames = []string{"localhost"}
	t.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	if a, ok := addr.(*net.TCPAddr); ok && !a.IP.IsUnspecified() {
		t.IPAddresses = append(t.IPAddresses, a.IP)
	}
	der, err := x509.CreateCertificate(rand.Reader, t, ca.Leaf, key.Public(), ca.PrivateKey)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// quiet takes net/http's remarks on broken connections as debug lines.
func quiet(l *slog.Logger) *log.Logger { return slog.NewLogLogger(l.Handler(), slog.LevelDebug) }
