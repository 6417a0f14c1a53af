package store

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge"
)

const (
	// maxCorrections is how many wrong counters a count remembers.
	maxCorrections = 100
	keepAgain      = time.Second
)

// SetLimits replaces the configured limits. They are put in force while this
// replica leads.
func (s *Store) SetLimits(limits []serviceforge.Limit) {
	texts := make([]string, 0, len(limits))
	for _, l := range limits {
		texts = append(texts, l.String())
	}
	slices.Sort(texts)
	s.limits.Store(&texts)
	select {
	case s.relimit <- struct{}{}:
	default:
	}
}

// KeepQuotas puts the configured limits in force, counts what exists when a
// limit is new or somebody asks for it, and goes on until ctx ends. It is for the
// leader of the term.
func (s *Store) KeepQuotas(ctx context.Context, term int64) {
	for ctx.Err() == nil {
		news, again := s.quotas.news(), silence
		if err := s.enforce(ctx, term); err != nil && ctx.Err() == nil {
			s.log.Warn("the quotas cannot be kept; trying again", "error", serviceforge.DetailOf(err))
			again = keepAgain
		}
		timer := time.NewTimer(again)
		select {
		case <-ctx.Done():
		case <-news:
		case <-s.relimit:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// enforce brings the record of the limits to what is configured, even if that is
// nothing: replicas with other settings must know.
func (s *Store) enforce(ctx context.Context, term int64) error {
	record, revision, err := s.readLimits(ctx)
	if err != nil {
		return err
	}
	before := record.Limits
	record.Limits = *s.limits.Load()
	same := slices.Equal(quotasIn(before), quotasIn(record.Limits))
	switch {
	case !same, record.Counting, record.Counted < record.Asked:
		return s.count(ctx, term, record, revision)
	case revision == 0, !slices.Equal(before, record.Limits): // only sizes
		_, err = s.putLimits(ctx, record, revision, term)
	}
	return err
}

// quotasIn returns limits without their sizes.
func quotasIn(limits []string) []string {
	quotas := make([]string, len(limits))
	for n, l := range limits {
		quotas[n] = l[:strings.LastIndexByte(l, '=')+1]
	}
	slices.Sort(quotas)
	return quotas
}

// count counts what exists, for the limits in the record. Nothing can be taken or given back meanwhile.
func (s *Store) count(ctx context.Context, term int64, record limitsRecord, revision int64) error {
	started := time.Now()
	record.Counting = true
	asked := record.Asked
	revision, err := s.putLimits(ctx, record, revision, term)
	if err != nil {
		return err
	}
	l := limitsOf(&record, revision)
	wrong, err := s.wrong(ctx, l)
	if err != nil {
		return err
	}
	record.Corrections = nil
	for _, q := range slices.SortedFunc(maps.Keys(wrong), func(a, b serviceforge.Quota) int { return strings.Compare(a.String(), b.String()) }) {
		if _, limited := l.of(q); limited && len(record.Corrections) < maxCorrections {
			record.Corrections = append(record.Corrections, Correction{q.String(), wrong[q].was.n, wrong[q].n})
		}
	}
	for part := range slices.Chunk(slices.Collect(maps.Values(wrong)), maxOps/2) {
		var set []clientv3.Op
		for _, m := range part {
			set = append(set, setCounter(m.quota, m.n))
		}
		answer, err := s.commit(ctx, unchanged(limitsKey, revision, term), set, nil)
		if err != nil {
			return err
		}
		if !answer.Succeeded {
			return recordMoved()
		}
	}
	record.Counting, record.Counted, record.At = false, asked, time.Now().UTC()
	_, err = s.putLimits(ctx, record, revision, term)
	if err == nil {
		s.log.Info("the quotas were counted", "limits", len(record.Limits), "corrected", len(wrong), "took", time.Since(started))
	}
	return err
}

// wrong lists the counters that are not what the records take.
func (s *Store) wrong(ctx context.Context, l limits) (map[serviceforge.Quota]*moving, error) {
	counters := map[serviceforge.Quota]*moving{}
	answer, err := s.get(ctx, countersKey, clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	for _, kv := range answer.Kvs {
		if q, ok := quotaOf(kv.Key); ok {
			counters[q] = &moving{quota: q, was: counterOf(kv, 0)}
		}
	}
	_, err = s.pages(ctx, instancesKey, func(kvs []*mvccpb.KeyValue) {
		for _, kv := range kvs {
			for _, step := range l.steps(serviceforge.Account{}, accountIn(kv)) {
				if counters[step.quota] == nil {
					counters[step.quota] = &moving{quota: step.quota}
				}
				counters[step.quota].n += step.n
			}
		}
	})
	maps.DeleteFunc(counters, func(_ serviceforge.Quota, m *moving) bool { return m.n == m.was.n })
	return counters, err
}

// accountIn reads only the account of a record.
func accountIn(kv *mvccpb.KeyValue) serviceforge.Account {
	r := instanceRecord{}
	gjson.ParseBytes(kv.Value).ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "platform":
			r.Platform = value.String()
		case "service_id":
			r.ServiceID = value.String()
		case "plan_id":
			r.PlanID = value.String()
		case "organization_guid":
			r.OrganizationGUID = value.String()
		case "space_guid":
			r.SpaceGUID = value.String()
		case "holds":
			_ = json.Unmarshal([]byte(value.Raw), &r.Holds) // a damaged one counts as one instance
		}
		return true
	})
	return serviceforge.Account{
		Platform: r.Platform, ServiceID: r.ServiceID, OrganizationGUID: r.OrganizationGUID, SpaceGUID: r.SpaceGUID, Holds: r.holds(),
	}
}

// Recount has the leader count what exists, and returns the counters that were
// wrong. Errors: Unprocessable (nothing is limited), Unavailable (no replica
// leads, or etcd does not answer).
func (s *Store) Recount(ctx context.Context) ([]Correction, error) {
	if _, err := s.quotas.ready(ctx); err != nil {
		return nil, err
	}
	asked := 0
	for {
		news := s.quotas.news()
		record, revision, err := s.readLimits(ctx)
		switch {
		case err != nil:
			return nil, err
		case len(record.Limits) == 0:
			return nil, serviceforge.Errorf(serviceforge.Unprocessable, "no limit is configured: there is nothing to count")
		case asked == 0:
			record.Asked++
			if _, err = s.putLimits(ctx, record, revision, 0); err == nil {
				asked = record.Asked
			} else if serviceforge.CodeOf(err) != serviceforge.Conflict {
				return nil, err
			}
			continue
		case record.Counted >= asked && !record.Counting:
			return record.Corrections, nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return nil, unavailable(ctx.Err())
		}
	}
}

func (s *Store) readLimits(ctx context.Context) (record limitsRecord, revision int64, err error) {
	answer, err := s.get(ctx, limitsKey)
	if err != nil || len(answer.Kvs) == 0 {
		return record, 0, err
	}
	s.quotas.learnLimits(answer.Kvs)
	if err := json.Unmarshal(answer.Kvs[0].Value, &record); err != nil {
		return record, 0, damaged(limitsKey, err)
	}
	return record, answer.Kvs[0].ModRevision, nil
}

// putLimits replaces the record that has the revision. Errors: Conflict.
func (s *Store) putLimits(ctx context.Context, record limitsRecord, revision, term int64) (int64, error) {
	record.header = header{recordVersion, 1}
	value, err := encode(limitsKey, nil, record)
	if err != nil {
		return 0, err
	}
	answer, err := s.commit(ctx, unchanged(limitsKey, revision, term), []clientv3.Op{clientv3.OpPut(limitsKey, value)}, nil)
	if err != nil {
		return 0, err
	}
	if !answer.Succeeded {
		return 0, recordMoved()
	}
	return answer.Header.Revision, nil
}

func recordMoved() error {
	return serviceforge.Errorf(serviceforge.Conflict, "the limits were changed meanwhile, or another replica leads")
}
