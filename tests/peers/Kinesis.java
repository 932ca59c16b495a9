import java.net.URI;
import java.util.List;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.kinesis.KinesisClient;
import software.amazon.awssdk.services.kinesis.model.KinesisException;
import software.amazon.awssdk.services.kinesis.model.PutRecordsRequestEntry;
import software.amazon.awssdk.services.kinesis.model.ResourceNotFoundException;

/** AWS's SDK for Java with another endpoint: it speaks CBOR. Prints what the test compares. */
public final class Kinesis {
    public static void main(String[] arguments) {
        String url = arguments[0], stream = arguments[1], key = arguments[2], secret = arguments[3];
        try (KinesisClient client = client(url, key, secret)) {
            SdkBytes data = SdkBytes.fromByteArray(new byte[] {'{', '}', 0, (byte) 0xff});
            String shard = client.putRecord(put -> put.streamName(stream).data(data).partitionKey("k")).shardId();
            PutRecordsRequestEntry entry =
                PutRecordsRequestEntry.builder().data(SdkBytes.fromUtf8String("many")).partitionKey("k").build();
            int failed = client.putRecords(put -> put.streamName(stream).records(List.of(entry, entry))).failedRecordCount();
            var summary = client.describeStreamSummary(of -> of.streamName(stream)).streamDescriptionSummary();
            int shards = client.listShards(of -> of.streamName(stream)).shards().size();
            System.out.println(shard + " " + failed + " " + summary.openShardCount() + " " + shards + " "
                + summary.streamCreationTimestamp() + " " + client.listStreams().streamNames().contains(stream));
            try {
                client.describeStream(of -> of.streamName("nothing"));
            } catch (ResourceNotFoundException error) {
                System.out.println(error.awsErrorDetails().errorCode() + " " + !error.requestId().isEmpty());
            }
        }
        try (KinesisClient client = client(url, key, secret + "x")) {
            client.listStreams();
        } catch (KinesisException error) {
            System.out.println(error.awsErrorDetails().errorCode());
        }
    }

    private static KinesisClient client(String url, String key, String secret) {
        return KinesisClient.builder()
            .endpointOverride(URI.create(url))
            .region(Region.EU_WEST_1)
            .credentialsProvider(StaticCredentialsProvider.create(AwsBasicCredentials.create(key, secret)))
            .httpClient(UrlConnectionHttpClient.create())
            .build();
    }
}
