package secrets

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"

	"golang.org/x/crypto/ssh"
)

// make makes a secret that is no certificate, in the form that a director's
// config server gives it.
func (spec Spec) make() (any, error) {
	switch spec.Type {
	case "user":
		name := spec.Username
		if name == "" {
			name = password(20)
		}
		return map[string]any{"username": name, "password": password(spec.Length)}, nil
	case "rsa":
		return rsaPair()
	case "ssh":
		return sshPair()
	}
	return password(spec.Length), nil
}

func rsaPair() (any, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"private_key": pemText("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)),
		"public_key":  pemText("PUBLIC KEY", public),
	}, nil
}

func sshPair() (any, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return nil, err
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"private_key":            string(pem.EncodeToMemory(block)),
		"public_key":             string(ssh.MarshalAuthorizedKey(key)),
		"public_key_fingerprint": ssh.FingerprintLegacyMD5(key),
	}, nil
}
