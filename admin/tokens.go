package admin

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/store"
)

// maxDescription bounds what is told of a token, in bytes.
const maxDescription = 255

// Token is an operator token as it is listed: without the token.
type Token struct {
	Number      int               `json:"number"`
	Description string            `json:"description"`
	Role        serviceforge.Role `json:"role"`
	CreatedAt   time.Time         `json:"created_at,omitzero"`
	CreatedBy   string            `json:"created_by,omitempty"`
	ExpiresAt   time.Time         `json:"expires_at,omitzero"` // none = never
	Expired     bool              `json:"expired,omitempty"`
	LastUsed    time.Time         `json:"last_used,omitzero"` // to within ten minutes
}

// TokenOrder is the body of POST /admin/v1/tokens.
type TokenOrder struct {
	Description string            `json:"description"`
	Role        serviceforge.Role `json:"role"`
	Expires     string            `json:"expires,omitempty"` // a duration from now, e.g. "2160h"; none = never
}

// NewToken is the answer to it, and the only one that ever holds the token.
type NewToken struct {
	Token
	Secret string `json:"token"`
}

func (a *API) listTokens(q *request) (any, error) {
	all, err := a.store.Tokens(q.Context())
	if err != nil {
		return nil, err
	}
	told := make([]Token, 0, len(all))
	for i := range all {
		told = append(told, ofToken(&all[i]))
	}
	return told, nil
}

func ofToken(t *store.Token) Token {
	return Token{
		Number: t.Number, Description: t.Description, Role: t.Role, CreatedAt: t.CreatedAt, CreatedBy: t.CreatedBy,
		ExpiresAt: t.ExpiresAt, Expired: !t.ExpiresAt.IsZero() && !time.Now().Before(t.ExpiresAt), LastUsed: t.LastUsed,
	}
}

func (a *API) createToken(q *request) (any, error) {
	var order TokenOrder
	if err := q.decode(&order); err != nil {
		return nil, err
	}
	if order.Description == "" || len(order.Description) > maxDescription {
		return nil, serviceforge.Errorf(serviceforge.Invalid, "describe in 1 to %d bytes what the token is for", maxDescription)
	}
	role, err := serviceforge.ParseRole(string(order.Role))
	if err != nil {
		return nil, err
	}
	t := store.Token{Description: order.Description, Role: role, CreatedAt: time.Now().UTC().Truncate(time.Second), CreatedBy: q.caller.Actor}
	if order.Expires != "" {
		life, err := time.ParseDuration(order.Expires)
		if err != nil || life <= 0 {
			return nil, serviceforge.Wrap(err, serviceforge.Invalid, "expires must be a duration above zero, such as 2160h")
		}
		t.ExpiresAt = t.CreatedAt.Add(life)
	}
	secret, err := a.store.CreateToken(q.Context(), &t)
	if err != nil {
		return nil, err
	}
	a.log.Info("a token was made", "token", t.Number, "role", t.Role, "actor", q.caller.Actor, "expires_at", t.ExpiresAt)
	return NewToken{Token: ofToken(&t), Secret: secret.Reveal()}, nil
}

func (a *API) revokeToken(q *request) (any, error) {
	name, err := q.name("token")
	if err != nil {
		return nil, err
	}
	number, err := strconv.Atoi(name)
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Invalid, "name the token by its number, the part before the first \"-\"")
	}
	if err := a.store.RevokeToken(q.Context(), number); err != nil {
		return nil, err
	}
	a.log.Info("a token was revoked", "token", number, "actor", q.caller.Actor)
	return struct{}{}, nil
}

// Tokens lists the operator tokens by number.
func (c *Client) Tokens(ctx context.Context) ([]Token, error) { return get[[]Token](ctx, c, "/tokens") }

// CreateToken makes an operator token. Errors: Invalid.
func (c *Client) CreateToken(ctx context.Context, order TokenOrder) (NewToken, error) {
	return send[NewToken](ctx, c, http.MethodPost, "/tokens", order)
}

// RevokeToken ends a token: every replica refuses it within seconds. Errors: NotFound.
func (c *Client) RevokeToken(ctx context.Context, number int) error {
	_, err := send[struct{}](ctx, c, http.MethodDelete, "/tokens/"+strconv.Itoa(number), nil)
	return err
}
