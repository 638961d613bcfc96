// Loads a kubeconfig as Node programs do, and says what it understood: one line of JSON, no token.
import { createHash } from 'node:crypto';
import { CoreV1Api, KubeConfig } from '@kubernetes/client-node';

const digest = (data) => createHash('sha256').update(data).digest('hex');
const [path, name] = process.argv.slice(2);

const config = new KubeConfig();
config.loadFromFile(path);
config.setCurrentContext(name);
const cluster = config.getCurrentCluster();
const namespaces = await config.makeApiClient(CoreV1Api).listNamespace();
console.log(JSON.stringify({
  server: cluster.server,
  ca: digest(Buffer.from(cluster.caData, 'base64')),
  token: digest(config.getCurrentUser().token),
  namespace: config.getContextObject(name).namespace ?? 'default',
  namespaces: namespaces.items.length,
}));
