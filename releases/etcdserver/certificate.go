package etcdserver

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// memberName is the name by which members know each other: the first DNS name of the certificate they share, since
// their addresses are not known when it is made. Without a DNS name, addresses are checked.
func memberName(certFile string) (string, error) {
	names, err := dnsNames(certFile)
	if err != nil || len(names) == 0 {
		return "", err
	}
	if domain, ok := strings.CutPrefix(names[0], "*."); ok {
		return "member." + domain, nil
	}
	return names[0], nil
}

// dnsNames are those of the certificate in a file; none for no file.
func dnsNames(certFile string) ([]string, error) {
	if certFile == "" {
		return nil, nil
	}
	text, err := os.ReadFile(certFile)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no certificate", certFile)
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", certFile, err)
	}
	return certificate.DNSNames, nil
}

// certify makes this start's certificate for the client port, signed with the authority's key, so that it holds the
// addresses that clients dial: most clients check for nothing else. It keeps the names of the shared certificate.
// The files are in the data folder.
func certify(config *embed.Config, authorityKeyFile string) error {
	authority, err := tls.LoadX509KeyPair(config.PeerTLSInfo.TrustedCAFile, authorityKeyFile)
	if err != nil {
		return fmt.Errorf("the authority's certificate and key: %w", err)
	}
	names, err := dnsNames(config.ClientTLSInfo.CertFile)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: config.Name}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: authority.Leaf.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	addHosts(template, config.ListenClientUrls, config.AdvertiseClientUrls)
	certificate, err := x509.CreateCertificate(rand.Reader, template, authority.Leaf, &key.PublicKey, authority.PrivateKey)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return err
	}
	config.ClientTLSInfo.CertFile = filepath.Join(config.Dir, "client.crt")
	config.ClientTLSInfo.KeyFile = filepath.Join(config.Dir, "client.key")
	return errors.Join(
		writePEM(config.ClientTLSInfo.CertFile, "CERTIFICATE", certificate),
		writePEM(config.ClientTLSInfo.KeyFile, "PRIVATE KEY", private),
	)
}

// addHosts puts the hosts of URLs into a certificate.
func addHosts(template *x509.Certificate, lists ...[]url.URL) {
	for _, u := range slices.Concat(lists...) {
		host := u.Hostname()
		switch ip := net.ParseIP(host); {
		case ip == nil && !slices.Contains(template.DNSNames, host):
			template.DNSNames = append(template.DNSNames, host)
		case ip != nil && !slices.ContainsFunc(template.IPAddresses, ip.Equal):
			template.IPAddresses = append(template.IPAddresses, ip)
		}
	}
}

// writePEM replaces a file that only its owner reads.
func writePEM(path, kind string, der []byte) error {
	var text bytes.Buffer
	if err := pem.Encode(&text, &pem.Block{Type: kind, Bytes: der}); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", text.Bytes(), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
