package users

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/serviceforge/serviceforge"
)

// querier is a connection, a pool of them, or a transaction.
type querier interface {
	Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error)
	QueryRow(ctx context.Context, sql string, arguments ...any) pgx.Row
}

func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }

// execute runs statements, each without parameters: those that change roles
// take none.
func execute(ctx context.Context, q querier, statements ...string) error {
	for _, statement := range statements {
		if _, err := q.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// roleID is 0 if there is no such role.
func roleID(ctx context.Context, q querier, name string) (id uint32, err error) {
	err = q.QueryRow(ctx, "SELECT oid FROM pg_roles WHERE rolname = $1", name).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	return id, err
}

// cutSessions ends the sessions of a role, and waits until they are gone and the
// server, which may be a standby, knows that it lets in no more.
func cutSessions(ctx context.Context, q querier, id uint32) error {
	for {
		var left int
		err := q.QueryRow(ctx, `SELECT (SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usesysid = $1)
			+ (SELECT count(*) FROM pg_roles WHERE oid = $1 AND rolcanlogin)`, id).Scan(&left)
		if err != nil || left == 0 {
			return err
		}
		if !pause(ctx, 20*time.Millisecond) {
			return fmt.Errorf("%d sessions of the user do not end: %w", left, ctx.Err())
		}
	}
}

// scramVerifier is what the server keeps of a password (RFC 5803, as PostgreSQL
// writes it): the password itself could get into its log.
func scramVerifier(password serviceforge.Secret) (string, error) {
	const rounds = 4096
	salt := make([]byte, 16)
	_, _ = rand.Read(salt)
	salted, err := pbkdf2.Key(sha256.New, password.Reveal(), salt, rounds, sha256.Size)
	if err != nil {
		return "", err
	}
	stored := sha256.Sum256(keyed(salted, "Client Key"))
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", rounds, b64(salt), b64(stored[:]), b64(keyed(salted, "Server Key"))), nil
}

func keyed(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
