package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/serviceforge/serviceforge"
)

// KeyRing seals secrets with AES-256-GCM. All its keys open; which one seals is
// decided in the store, so that no replica uses a key that another has not got
// (Store.RotateKeys). It may be used by several goroutines.
type KeyRing struct {
	mu      sync.RWMutex
	keys    map[string]cipher.AEAD
	ids     []string // in the order of the file
	current string   // seals
}

// sealed is an encrypted value; KeyID says which key of the ring opens it.
type sealed struct {
	KeyID string `json:"key_id"`
	Data  []byte `json:"data"` // nonce and ciphertext
}

// keyFile is the ring on disk, oldest key first.
type keyFile struct {
	Keys []fileKey `json:"keys"`
}

type fileKey struct {
	ID  string `json:"id"`
	Key []byte `json:"key"` // 32 bytes
}

// errNoKey says that a value was sealed with a key that the ring has not got.
var errNoKey = errors.New("the key is not in the key ring")

// LoadKeyRing reads the ring from a file that only its owner may read (0600),
// and makes the file with one random key if it does not exist.
func LoadKeyRing(path string) (*KeyRing, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = writeKeyFile(path, keyFile{Keys: []fileKey{newKey()}})
	}
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Unprocessable, "the key file %s cannot be read or made", path)
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		return nil, serviceforge.Errorf(serviceforge.Unprocessable, "the key file %s can be read by others: run chmod 600 on it", path)
	}
	ring := &KeyRing{}
	if err := ring.Replace(data); err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Unprocessable, "the key file %s is not good: %s", path, serviceforge.MessageOf(err))
	}
	ring.current = ring.newest()
	return ring, nil
}

// AddKey adds a random key to a key file, and returns its id. It is used once
// every replica has the file and `keys rotate` was asked for. Errors: Unprocessable.
func AddKey(path string) (id string, err error) {
	var file keyFile
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &file)
	}
	if err == nil {
		file.Keys = append(file.Keys, newKey())
		_, err = writeKeyFile(path, file)
	}
	if err != nil {
		why := "it is no key file" // what JSON says of it may quote a key
		if failed, ok := errors.AsType[*fs.PathError](err); ok {
			why = failed.Err.Error()
		}
		return "", serviceforge.Wrap(err, serviceforge.Unprocessable, "no key can be added to the key file %s: %s", path, why)
	}
	return file.Keys[len(file.Keys)-1].ID, nil
}

// Replace takes the keys of a changed file. Errors: Unprocessable where it is
// damaged or has lost the key that is in use; the keys then stay what they were.
func (r *KeyRing) Replace(data []byte) error {
	var file keyFile
	if json.Unmarshal(data, &file) != nil || len(file.Keys) == 0 { // an error may quote a key
		return serviceforge.Errorf(serviceforge.Unprocessable, "it is no list \"keys\" of id and key")
	}
	keys, ids := map[string]cipher.AEAD{}, make([]string, 0, len(file.Keys))
	for _, k := range file.Keys {
		block, err := aes.NewCipher(k.Key)
		if err != nil || len(k.Key) != 32 || k.ID == "" || slices.Contains(ids, k.ID) {
			return serviceforge.Errorf(serviceforge.Unprocessable, "key %q is not 32 bytes long, or is there twice", k.ID)
		}
		if keys[k.ID], err = cipher.NewGCM(block); err != nil {
			return serviceforge.Wrap(err, serviceforge.Internal, "key %q cannot be used", k.ID)
		}
		ids = append(ids, k.ID)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current != "" && keys[r.current] == nil {
		return serviceforge.Errorf(serviceforge.Unprocessable, "key %q is in use and missing", r.current)
	}
	r.keys, r.ids = keys, ids
	return nil
}

// newKey makes a random key with an id that no other key has.
func newKey() fileKey {
	k := fileKey{Key: make([]byte, 32)}
	_, _ = rand.Read(k.Key) // never fails (crypto/rand)
	sum := sha256.Sum256(k.Key)
	k.ID = hex.EncodeToString(sum[:4])
	return k
}

// writeKeyFile writes a ring, completely or not at all.
func writeKeyFile(path string, file keyFile) ([]byte, error) {
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

// newest is the key that a rotation goes to: the last of the file.
func (r *KeyRing) newest() string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.ids[len(r.ids)-1]
}

// state returns the ids of all keys and of the one that seals.
func (r *KeyRing) state() (ids []string, current string) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.ids, r.current
}

// use makes a key the one that seals, if the ring has it.
func (r *KeyRing) use(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys[id] == nil {
		return false
	}
	r.current = id
	return true
}

// seal encrypts plain; place (the record's key) is authenticated with it, so
// that a sealed value cannot be moved to another record.
func (r *KeyRing) seal(place string, plain []byte) sealed {
	_, id := r.state()
	return r.sealWith(id, place, plain)
}

// sealWith seals with a key that the ring has.
func (r *KeyRing) sealWith(id, place string, plain []byte) sealed {
	r.mu.RLock()
	aead := r.keys[id]
	r.mu.RUnlock()
	nonce := make([]byte, aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails (crypto/rand)
	return sealed{KeyID: id, Data: aead.Seal(nonce, nonce, plain, []byte(place))}
}

// open decrypts what seal made for the same place. Errors: errNoKey.
func (r *KeyRing) open(place string, s sealed) ([]byte, error) {
	r.mu.RLock()
	aead, ok := r.keys[s.KeyID]
	r.mu.RUnlock()
	if !ok {
		return nil, fmt.Errorf("key %q: %w", s.KeyID, errNoKey)
	}
	if len(s.Data) < aead.NonceSize() {
		return nil, errors.New("sealed value is cut off")
	}
	return aead.Open(nil, s.Data[:aead.NonceSize()], s.Data[aead.NonceSize():], []byte(place))
}

// sealJSON seals secrets. Those that a lost key closed stay what they were:
// they are among the unknown fields then.
func (s *Store) sealJSON(place, lost string, hidden any) (*sealed, error) {
	if lost != "" {
		return nil, nil
	}
	plain, err := json.Marshal(hidden)
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Internal, "the secrets of %s cannot be written", place)
	}
	closed := s.keys.seal(place, plain)
	return &closed, nil
}

// sealedField is the field of a record that holds its secrets.
const sealedField = "sealed"

// unseal reads a record's secrets; nil = it has none. If their key is not here,
// it returns its id, and keeps the sealed secrets among the unknown fields, so
// that a write of the record leaves them as they are.
func (s *Store) unseal(place string, closed *sealed, hidden any, unknown map[string]json.RawMessage) (kept map[string]json.RawMessage, lost string, err error) {
	if closed == nil {
		return unknown, "", nil
	}
	plain, err := s.keys.open(place, *closed)
	if errors.Is(err, errNoKey) {
		raw, err := json.Marshal(closed)
		if err != nil {
			return unknown, "", damaged(place, err)
		}
		if unknown == nil {
			unknown = map[string]json.RawMessage{}
		}
		unknown[sealedField] = raw
		return unknown, closed.KeyID, nil
	}
	if err != nil {
		return unknown, "", serviceforge.Wrap(err, serviceforge.Internal, "the secrets of %s cannot be opened", place)
	}
	if err := json.Unmarshal(plain, hidden); err != nil {
		return unknown, "", damaged(place, err)
	}
	return unknown, "", nil
}
