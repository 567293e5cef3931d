// franz-go through the scenario that tests/clients/scenario.py describes; prints what it saw as one JSON object.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const partitions = 3

type plan struct {
	Bootstrap          string `json:"bootstrap"`
	Topic              string `json:"topic"`
	Copies             string `json:"copies"`
	Group              string `json:"group"`
	TransactionalGroup string `json:"transactional_group"`
	TransactionalID    string `json:"transactional_id"`
	Count              int    `json:"count"`
}

type seen struct {
	Acknowledged [][]any `json:"acknowledged"`
	Consumed     [][]any `json:"consumed"`
	Transacted   bool    `json:"transacted"`
}

func (p plan) client(more ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(append(p.options(), more...)...)
	check(err)
	return client
}

func (p plan) options() []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(p.Bootstrap),
		kgo.ClientID("franz-go"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.ZstdCompression()),
		kgo.FetchMaxWait(100 * time.Millisecond),
		kgo.MetadataMinAge(50 * time.Millisecond),
	}
}

func (p plan) produce(ctx context.Context) (acknowledged [][]any) {
	client := p.client()
	defer client.Close()
	for n := range p.Count {
		text := strconv.Itoa(n)
		record := &kgo.Record{
			Topic:     p.Topic,
			Partition: int32(n % partitions),
			Key:       []byte("key-" + text),
			Value:     []byte("value-" + text),
			Headers:   []kgo.RecordHeader{{Key: "n", Value: []byte(text)}},
		}
		client.Produce(ctx, record, func(record *kgo.Record, err error) {
			check(err)
			acknowledged = append(acknowledged, []any{n, record.Partition, record.Offset})
		})
	}
	check(client.Flush(ctx))
	return acknowledged
}

func (p plan) consume(ctx context.Context) (records [][]any) {
	client := p.client(
		kgo.ConsumerGroup(p.Group),
		kgo.ConsumeTopics(p.Topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
	)
	defer client.Close()
	for len(records) < p.Count {
		fetched := client.PollFetches(ctx)
		check(fetched.Err())
		fetched.EachRecord(func(r *kgo.Record) {
			header := string(r.Headers[0].Value)
			records = append(records, []any{r.Partition, r.Offset, string(r.Key), string(r.Value), header})
		})
	}
	check(client.CommitUncommittedOffsets(ctx))
	return records
}

// Copies the topic in transactions. The first is aborted, which takes the session back to where it began.
func (p plan) transact(ctx context.Context) {
	session, err := kgo.NewGroupTransactSession(append(p.options(),
		kgo.TransactionalID(p.TransactionalID),
		kgo.TransactionTimeout(30*time.Second),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumerGroup(p.TransactionalGroup),
		kgo.ConsumeTopics(p.Topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.RequireStableFetchOffsets(),
	)...)
	check(err)
	defer session.Close()
	aborted := false
	for copied := 0; copied < p.Count; {
		fetched := session.PollFetches(ctx)
		check(fetched.Err())
		check(session.Begin())
		fetched.EachRecord(func(r *kgo.Record) {
			copy := &kgo.Record{Topic: p.Copies, Partition: r.Partition, Value: append([]byte("copy of "), r.Value...)}
			session.Produce(ctx, copy, func(_ *kgo.Record, err error) { check(err) })
		})
		check(session.Client().Flush(ctx))
		if !aborted {
			_, err := session.End(ctx, kgo.TryAbort)
			check(err)
			aborted = true
			continue
		}
		committed, err := session.End(ctx, kgo.TryCommit)
		check(err)
		if !committed {
			check(errors.New("the group was rebalanced in the middle of a transaction"))
		}
		copied += fetched.NumRecords()
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	var p plan
	check(json.Unmarshal([]byte(os.Args[1]), &p))
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	result := seen{Acknowledged: p.produce(ctx), Consumed: p.consume(ctx)}
	p.transact(ctx)
	result.Transacted = true
	printed, err := json.Marshal(result)
	check(err)
	fmt.Println(string(printed))
}
