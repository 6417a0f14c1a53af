package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/crypto/scrypt"

	"github.com/serviceforge/serviceforge"
)

// Cost of a token's hash: 32 MiB and about 50 ms (scrypt's own recommendation
// for interactive logins).
const (
	scryptN, scryptR, scryptP = 1 << 15, 8, 1
	scryptLength              = 32
	tokenBytes                = 24
)

// Token is what is kept of an operator token "<number>-<48 hex digits>": never
// the token itself.
type Token struct {
	Number      int // never given twice
	Description string
	Role        serviceforge.Role
	CreatedAt   time.Time
	CreatedBy   string    // actor
	ExpiresAt   time.Time // zero = never
	LastUsed    time.Time // see NoteTokenUse; zero = not yet

	salt, hash []byte
	revision   int64
}

// tokenRecord is a Token in etcd.
type tokenRecord struct {
	header
	Number      string            `json:"number"`
	Description string            `json:"description"`
	Role        serviceforge.Role `json:"role,omitempty"` // none = admin: made before there were roles
	CreatedAt   time.Time         `json:"created_at,omitzero"`
	CreatedBy   string            `json:"created_by,omitempty"`
	ExpiresAt   time.Time         `json:"expires_at,omitzero"`
	LastUsed    time.Time         `json:"last_used,omitzero"`
	Salt        []byte            `json:"salt"`
	Hash        []byte            `json:"hash"` // scrypt(N=2^15, r=8, p=1)
}

// CreateToken makes a token of t's description, role, actor and times, stores
// its hash, sets t.Number, and returns the token, which nobody can read again.
// It costs a scrypt. Errors: Unavailable.
func (s *Store) CreateToken(ctx context.Context, t *Token) (serviceforge.Secret, error) {
	random := make([]byte, tokenBytes+16)
	_, _ = rand.Read(random) // never fails (crypto/rand)
	t.salt = random[tokenBytes:]
	for {
		last, revision, err := s.lastToken(ctx)
		if err != nil {
			return serviceforge.Secret{}, err
		}
		t.Number = last + 1
		token := serviceforge.NewSecret(strconv.Itoa(t.Number) + "-" + hex.EncodeToString(random[:tokenBytes]))
		if t.hash, err = hashToken(token, t.salt); err != nil {
			return serviceforge.Secret{}, err
		}
		place, value, err := encodeToken(t)
		if err != nil {
			return serviceforge.Secret{}, err
		}
		answer, err := s.commit(ctx, []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(lastTokenKey), "=", revision)},
			[]clientv3.Op{clientv3.OpPut(place, value), clientv3.OpPut(lastTokenKey, strconv.Itoa(t.Number))}, nil)
		if err != nil {
			return serviceforge.Secret{}, err
		}
		if answer.Succeeded {
			t.revision = answer.Header.Revision
			return token, nil
		}
	}
}

// lastToken is the highest number that was ever given. Stores of before the
// counter hold token 1 at most.
func (s *Store) lastToken(ctx context.Context) (number int, revision int64, err error) {
	answer, err := s.get(ctx, lastTokenKey)
	if err != nil {
		return 0, 0, err
	}
	if len(answer.Kvs) == 1 {
		number, err = strconv.Atoi(string(answer.Kvs[0].Value))
		if err != nil {
			return 0, 0, serviceforge.Wrap(err, serviceforge.Internal, "the record %s is damaged", lastTokenKey)
		}
		return number, answer.Kvs[0].ModRevision, nil
	}
	all, err := s.Tokens(ctx)
	if err != nil || len(all) == 0 {
		return 0, 0, err
	}
	return all[len(all)-1].Number, 0, nil
}

// Tokens lists all tokens by number, also those that have expired.
func (s *Store) Tokens(ctx context.Context) ([]Token, error) {
	answer, err := s.get(ctx, tokensKey, clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	all := make([]Token, 0, len(answer.Kvs))
	for _, kv := range answer.Kvs {
		t, err := decodeToken(kv)
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b Token) int { return cmp.Compare(a.Number, b.Number) })
	return all, nil
}

// Token reads what is kept of one token, linearizably. Errors: NotFound, Unavailable.
func (s *Store) Token(ctx context.Context, number int) (Token, error) {
	answer, err := s.get(ctx, key(tokensKey, strconv.Itoa(number)))
	if err != nil {
		return Token{}, err
	}
	if len(answer.Kvs) == 0 {
		return Token{}, noToken(number)
	}
	return decodeToken(answer.Kvs[0])
}

// RevokeToken forgets a token. Errors: NotFound, Unavailable.
func (s *Store) RevokeToken(ctx context.Context, number int) error {
	place := key(tokensKey, strconv.Itoa(number))
	answer, err := s.commit(ctx, nil, []clientv3.Op{clientv3.OpDelete(place)}, nil)
	if err == nil && answer.Responses[0].GetResponseDeleteRange().Deleted == 0 {
		err = noToken(number)
	}
	return err
}

// NoteTokenUse stores when a token was last used, unless somebody changed it
// since it was read.
func (s *Store) NoteTokenUse(ctx context.Context, t Token, at time.Time) error {
	t.LastUsed = at
	place, value, err := encodeToken(&t)
	if err != nil {
		return err
	}
	_, err = s.commit(ctx, unchanged(place, t.revision, 0), []clientv3.Op{clientv3.OpPut(place, value)}, nil)
	return err
}

// Is says whether token is the one whose hash t keeps. It costs a scrypt.
func (t *Token) Is(token serviceforge.Secret) bool {
	hash, err := hashToken(token, t.salt)
	return err == nil && subtle.ConstantTimeCompare(hash, t.hash) == 1
}

func hashToken(token serviceforge.Secret, salt []byte) ([]byte, error) {
	hash, err := scrypt.Key([]byte(token.Reveal()), salt, scryptN, scryptR, scryptP, scryptLength)
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Internal, "the token cannot be hashed")
	}
	return hash, nil
}

func noToken(number int) error {
	return serviceforge.Errorf(serviceforge.NotFound, "there is no token %d", number)
}

func encodeToken(t *Token) (place, value string, err error) {
	number := strconv.Itoa(t.Number)
	place = key(tokensKey, number)
	value, err = encode(place, nil, tokenRecord{
		header: header{recordVersion, 1}, Number: number, Description: t.Description, Role: t.Role,
		CreatedAt: t.CreatedAt, CreatedBy: t.CreatedBy, ExpiresAt: t.ExpiresAt, LastUsed: t.LastUsed, Salt: t.salt, Hash: t.hash,
	})
	return place, value, err
}

func decodeToken(kv *mvccpb.KeyValue) (Token, error) {
	var r tokenRecord
	err := json.Unmarshal(kv.Value, &r)
	number, badNumber := strconv.Atoi(r.Number)
	if err := cmp.Or(err, badNumber); err != nil {
		return Token{}, serviceforge.Wrap(err, serviceforge.Internal, "the record %s is damaged", kv.Key)
	}
	return Token{
		Number: number, Description: r.Description, Role: cmp.Or(r.Role, serviceforge.Admin),
		CreatedAt: r.CreatedAt, CreatedBy: r.CreatedBy, ExpiresAt: r.ExpiresAt, LastUsed: r.LastUsed,
		salt: r.Salt, hash: r.Hash, revision: kv.ModRevision,
	}, nil
}
