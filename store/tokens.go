package store

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/crypto/scrypt"

	"github.com/serviceforge/serviceforge"
)

// Cost of a token's hash (scrypt's own recommendation for interactive logins).
const (
	scryptN, scryptR, scryptP = 1 << 15, 8, 1
	scryptLength              = 32
	tokenBytes                = 24
)

// tokenRecord is an operator token in etcd: never the token itself.
type tokenRecord struct {
	header
	Number      string `json:"number"`
	Description string `json:"description"`
	Salt        []byte `json:"salt"`
	Hash        []byte `json:"hash"` // scrypt(N=2^15, r=8, p=1)
}

// MakeToken makes operator token "<number>-<hex>" and stores its hash. A token
// of that number is replaced.
func (s *Store) MakeToken(ctx context.Context, number, description string) (serviceforge.Secret, error) {
	random := make([]byte, tokenBytes+16)
	_, _ = rand.Read(random) // never fails (crypto/rand)
	token := number + "-" + hex.EncodeToString(random[:tokenBytes])
	salt := random[tokenBytes:]
	hash, err := scrypt.Key([]byte(token), salt, scryptN, scryptR, scryptP, scryptLength)
	if err != nil {
		return serviceforge.Secret{}, serviceforge.Wrap(err, serviceforge.Internal, "the token cannot be hashed")
	}
	place := key(tokensKey, number)
	value, err := encode(place, nil, tokenRecord{header: header{recordVersion, 1}, Number: number,
		Description: description, Salt: salt, Hash: hash})
	if err != nil {
		return serviceforge.Secret{}, err
	}
	_, err = s.commit(ctx, nil, []clientv3.Op{clientv3.OpPut(place, value)}, nil)
	return serviceforge.NewSecret(token), err
}

// VerifyToken returns who holds token, e.g. "token 1". It costs a read and a
// scrypt, about 50 ms: callers remember the answer. Errors: Unauthorized, Unavailable.
func (s *Store) VerifyToken(ctx context.Context, token serviceforge.Secret) (actor string, err error) {
	refused := serviceforge.Errorf(serviceforge.Unauthorized, "the token is not valid: eval \"$(serviceforge env)\" sets the one of this machine")
	number, _, ok := strings.Cut(token.Reveal(), "-")
	if !ok {
		return "", refused
	}
	answer, err := s.get(ctx, key(tokensKey, number))
	if err != nil {
		return "", err
	}
	if len(answer.Kvs) == 0 {
		return "", refused
	}
	var record tokenRecord
	if err := json.Unmarshal(answer.Kvs[0].Value, &record); err != nil {
		return "", serviceforge.Wrap(err, serviceforge.Internal, "the record of token %s is damaged", number)
	}
	hash, err := scrypt.Key([]byte(token.Reveal()), record.Salt, scryptN, scryptR, scryptP, scryptLength)
	if err != nil || subtle.ConstantTimeCompare(hash, record.Hash) != 1 {
		return "", refused
	}
	return "token " + number, nil
}
