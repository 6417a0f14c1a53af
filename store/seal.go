package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/serviceforge/serviceforge"
)

// KeyRing seals secrets with AES-256-GCM. The newest key seals; all open.
type KeyRing struct {
	newest string
	keys   map[string]cipher.AEAD
}

// sealed is an encrypted value; KeyID says which key of the ring opens it.
type sealed struct {
	KeyID string `json:"key_id"`
	Data  []byte `json:"data"` // nonce and ciphertext
}

// keyFile is the ring on disk, oldest key first.
type keyFile struct {
	Keys []struct {
		ID  string `json:"id"`
		Key []byte `json:"key"` // 32 bytes
	} `json:"keys"`
}

// LoadKeyRing reads the ring from a file that only its owner may read (0600),
// and makes the file with one random key if it does not exist.
func LoadKeyRing(path string) (*KeyRing, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = makeKeyFile(path)
	}
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Unprocessable, "the key file %s cannot be read or made", path)
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		return nil, serviceforge.Errorf(serviceforge.Unprocessable, "the key file %s can be read by others: run chmod 600 on it", path)
	}
	var file keyFile
	if err := json.Unmarshal(data, &file); err != nil || len(file.Keys) == 0 {
		return nil, serviceforge.Wrap(err, serviceforge.Unprocessable, "the key file %s is damaged", path)
	}
	ring := &KeyRing{keys: map[string]cipher.AEAD{}}
	for _, k := range file.Keys {
		block, err := aes.NewCipher(k.Key)
		if err != nil || len(k.Key) != 32 {
			return nil, serviceforge.Wrap(err, serviceforge.Unprocessable, "key %q in %s is not 32 bytes long", k.ID, path)
		}
		if ring.keys[k.ID], err = cipher.NewGCM(block); err != nil {
			return nil, serviceforge.Wrap(err, serviceforge.Internal, "key %q cannot be used", k.ID)
		}
		ring.newest = k.ID
	}
	return ring, nil
}

// makeKeyFile writes a ring with one new key, completely or not at all.
func makeKeyFile(path string) ([]byte, error) {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails (crypto/rand)
	var file keyFile
	file.Keys = append(file.Keys, struct {
		ID  string `json:"id"`
		Key []byte `json:"key"`
	}{"1", secret})
	data, err := json.Marshal(file)
	if err != nil {
		return nil, err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".key-*") // 0600
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(temporary.Name()) }()
	_, err = temporary.Write(data)
	if err := errors.Join(err, temporary.Sync(), temporary.Close()); err != nil {
		return nil, err
	}
	return data, os.Rename(temporary.Name(), path)
}

// seal encrypts plain; place (the record's key) is authenticated with it, so
// that a sealed value cannot be moved to another record.
func (r *KeyRing) seal(place string, plain []byte) sealed {
	aead := r.keys[r.newest]
	nonce := make([]byte, aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails (crypto/rand)
	return sealed{KeyID: r.newest, Data: aead.Seal(nonce, nonce, plain, []byte(place))}
}

// open decrypts what seal made for the same place.
func (r *KeyRing) open(place string, s sealed) ([]byte, error) {
	aead, ok := r.keys[s.KeyID]
	if !ok {
		return nil, fmt.Errorf("key %q is not in the key ring", s.KeyID)
	}
	if len(s.Data) < aead.NonceSize() {
		return nil, errors.New("sealed value is cut off")
	}
	return aead.Open(nil, s.Data[:aead.NonceSize()], s.Data[aead.NonceSize():], []byte(place))
}
