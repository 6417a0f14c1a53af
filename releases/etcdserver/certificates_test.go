package etcdserver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	mathrand "math/rand/v2"
	"testing"
	"time"
)

// certificates makes what the service release makes: an authority, and one certificate for all members and no address.
func certificates(t *testing.T) (ca, caKey, certificate, key string) {
	t.Helper()
	sign := func(template, parent *x509.Certificate, public *ecdsa.PrivateKey, signer *ecdsa.PrivateKey) []byte {
		template.SerialNumber = big.NewInt(mathrand.Int64())
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &public.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	encode := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	authority, memberKey := newKey(), newKey()
	caTemplate := &x509.Certificate{Subject: pkix.Name{CommonName: "etcd-ca"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caDER := sign(caTemplate, caTemplate, authority, authority)
	memberDER := sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "etcd"}, DNSNames: []string{"*.etcd.default.etcd-1.bosh"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, caTemplate, memberKey, authority)
	encodeKey := func(key *ecdsa.PrivateKey) string {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return encode("PRIVATE KEY", der)
	}
	return encode("CERTIFICATE", caDER), encodeKey(authority), encode("CERTIFICATE", memberDER), encodeKey(memberKey)
}
