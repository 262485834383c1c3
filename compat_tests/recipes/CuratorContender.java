import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.retry.RetryOneTime;

/**
 * A contender of Curator's for one lock: CuratorContender HOSTS PATH.
 *
 * Reads "acquire MILLISECONDS" and "release" from standard input and answers each with one line: "acquired" or "not
 * acquired", "released". Ends with its input.
 */
public class CuratorContender {
    public static void main(String[] arguments) throws Exception {
        try (CuratorFramework client = CuratorFrameworkFactory.newClient(arguments[0], new RetryOneTime(100))) {
            client.start();
            client.blockUntilConnected();
            InterProcessMutex mutex = new InterProcessMutex(client, arguments[1]);
            System.out.println("connected");
            BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
            for (String line = input.readLine(); line != null; line = input.readLine()) {
                String[] words = line.split(" ");
                if (words[0].equals("acquire")) {
                    boolean acquired = mutex.acquire(Long.parseLong(words[1]), TimeUnit.MILLISECONDS);
                    System.out.println(acquired ? "acquired" : "not acquired");
                } else {
                    mutex.release();
                    System.out.println("released");
                }
            }
        }
    }
}
