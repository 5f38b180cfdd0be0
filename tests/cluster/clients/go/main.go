// What an application with the AWS SDK for Go does with guests/s3: `client PORT...`. The SDK is unchanged.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

const mib = 1 << 20

var bucket = aws.String("golang")

// must ends the program when what it was given did not succeed.
func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

func check(what string, actual, expected any) {
	if !reflect.DeepEqual(actual, expected) {
		must(0, fmt.Errorf("%s: expected %v, got %v", what, expected, actual))
	}
}

// code is the code with which a request was refused; empty if it was not.
func code(err error) string {
	var refused smithy.APIError
	if errors.As(err, &refused) {
		return refused.ErrorCode()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// data returns bytes that differ from each other.
func data(count int, seed string) []byte {
	out := make([]byte, 0, count+sha256.Size)
	for at := 0; len(out) < count; at++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", seed, at))
		out = append(out, sum[:]...)
	}
	return out[:count]
}

func read(answer *s3.GetObjectOutput) []byte {
	defer answer.Body.Close()
	return must(io.ReadAll(answer.Body))
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var clients []*s3.Client
	for _, port := range os.Args[1:] {
		clients = append(clients, s3.New(s3.Options{
			BaseEndpoint:     aws.String("http://127.0.0.1:" + port),
			Credentials:      credentials.NewStaticCredentialsProvider("alices-key", "alices-secret-key", ""),
			Region:           "us-east-1",
			UsePathStyle:     true,
			RetryMaxAttempts: 10,
		}))
	}
	must(clients[0].CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket}))
	objects(ctx, clients)
	upload(ctx, clients)
	race(ctx, clients)
	lists(ctx, clients)
	must(clients[0].DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: bucket}))
	fmt.Println("the SDK for Go is served")
}

func objects(ctx context.Context, clients []*s3.Client) {
	key := aws.String("a b/ü+&")
	put := must(clients[0].PutObject(ctx, &s3.PutObjectInput{
		Bucket: bucket, Key: key, Body: bytes.NewReader([]byte("text")), ContentType: aws.String("text/plain"),
		Metadata: map[string]string{"name": "value"},
	}))
	got := must(clients[1].GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key}))
	check("an object", []any{string(read(got)), *got.ETag, *got.ContentType, got.Metadata["name"]},
		[]any{"text", *put.ETag, "text/plain", "value"})
	_, err := clients[2].GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("absent")})
	check("an absent key", code(err), "NoSuchKey")
	_, err = clients[2].HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: aws.String("absent")})
	check("HEAD of an absent key", code(err), "NotFound")
	for _, algorithm := range []types.ChecksumAlgorithm{"CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"} {
		body, name := data(300_000, string(algorithm)), aws.String("sum/"+string(algorithm))
		must(clients[1].PutObject(ctx, &s3.PutObjectInput{
			Bucket: bucket, Key: name, Body: bytes.NewReader(body), ChecksumAlgorithm: algorithm,
		}))
		// The SDK compares the checksum while it reads.
		answer := must(clients[2].GetObject(ctx, &s3.GetObjectInput{
			Bucket: bucket, Key: name, ChecksumMode: types.ChecksumModeEnabled,
		}))
		check(string(algorithm), bytes.Equal(read(answer), body), true)
	}
	signed := must(s3.NewPresignClient(clients[0]).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key}))
	answer := must(http.Get(signed.URL))
	defer answer.Body.Close()
	check("a signed URL", string(must(io.ReadAll(answer.Body))), "text")
	copied := must(clients[1].CopyObject(ctx, &s3.CopyObjectInput{
		Bucket: bucket, Key: aws.String("copy"), CopySource: aws.String("golang/a%20b/%C3%BC%2B%26"),
	}))
	check("a copy", *copied.CopyObjectResult.ETag, *put.ETag)
}

// upload sends an object in parts, at once and through all nodes.
func upload(ctx context.Context, clients []*s3.Client) {
	whole, key := data(12*mib+3, "large"), aws.String("large")
	created := must(clients[0].CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: key}))
	parts := make([]types.CompletedPart, 3)
	var group sync.WaitGroup
	for k := range parts {
		group.Add(1)
		go func() {
			defer group.Done()
			number := aws.Int32(int32(k + 1))
			body := bytes.NewReader(whole[k*5*mib : min((k+1)*5*mib, len(whole))])
			put := must(clients[k%len(clients)].UploadPart(ctx, &s3.UploadPartInput{
				Bucket: bucket, Key: key, UploadId: created.UploadId, PartNumber: number, Body: body,
			}))
			parts[k] = types.CompletedPart{ETag: put.ETag, PartNumber: number, ChecksumCRC32: put.ChecksumCRC32}
		}()
	}
	group.Wait()
	must(clients[1].CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: bucket, Key: key, UploadId: created.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	}))
	got := must(clients[2].GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key}))
	check("an object in parts", bytes.Equal(read(got), whole), true)
	part := must(clients[0].GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key, PartNumber: aws.Int32(2)}))
	check("a part of it", bytes.Equal(read(part), whole[5*mib:10*mib]), true)
}

// race lets all nodes make the same key at once: one wins.
func race(ctx context.Context, clients []*s3.Client) {
	outcomes := make(chan string, len(clients))
	for _, client := range clients {
		go func() {
			_, err := client.PutObject(ctx, &s3.PutObjectInput{
				Bucket: bucket, Key: aws.String("once"), Body: bytes.NewReader([]byte("x")), IfNoneMatch: aws.String("*"),
			})
			outcomes <- code(err)
		}()
	}
	winners := 0
	for range clients {
		if <-outcomes == "" {
			winners++
		}
	}
	check("winners", winners, 1)
}

// lists walks all pages, and deletes what they show.
func lists(ctx context.Context, clients []*s3.Client) {
	var keys []string
	var listed []types.ObjectIdentifier
	pages := s3.NewListObjectsV2Paginator(clients[2], &s3.ListObjectsV2Input{Bucket: bucket, MaxKeys: aws.Int32(2)})
	for pages.HasMorePages() {
		for _, object := range must(pages.NextPage(ctx)).Contents {
			keys = append(keys, *object.Key)
			listed = append(listed, types.ObjectIdentifier{Key: object.Key, ETag: object.ETag})
		}
	}
	check("keys", keys, []string{"a b/ü+&", "copy", "large", "once", "sum/CRC32", "sum/CRC32C", "sum/CRC64NVME",
		"sum/SHA1", "sum/SHA256"})
	deleted := must(clients[1].DeleteObjects(ctx, &s3.DeleteObjectsInput{
		Bucket: bucket, Delete: &types.Delete{Objects: listed},
	}))
	check("what was deleted", []int{len(deleted.Deleted), len(deleted.Errors)}, []int{len(keys), 0})
}
