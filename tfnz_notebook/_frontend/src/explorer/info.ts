// What cards and tables are told: the `info` that widgets/explorer/facts.py makes. Every text in it is of one line
// and without control characters, but may say anything: it goes into text nodes alone.
import type { Through } from "../through.js";

export interface Process {
  id: string;
  text: string;
  pid: number;
  tty: boolean;
  returncode: number | null;
  started: number;
  main: boolean;
  /** "timeout", "memory", or "gone": with its container, nobody knows how. */
  why: string;
}

/** What a process wrote, by stream, in the order in which it came. */
export type Said = readonly (readonly [stream: number, text: string])[];

export interface Tunnel {
  port: number;
  local: number;
  url: string;
  through?: Through | null;
}

export interface Usage {
  cpu: number | null;
  memory: number | null;
  limit: number | null;
  pids: number | null;
  read: number | null;
  written: number | null;
  received: number | null;
  sent: number | null;
  cpus: number[];
  memories: number[];
}

export interface Summary {
  id: string;
  title: string;
  image: string;
  state: string;
  returncode: number | null;
}

export interface Container extends Summary {
  /** As the engine's own tools show it. */
  engine_id: string;
  engine_name: string;
  name: string;
  tag: string;
  node: string;
  ip: string;
  created: number;
  pull: { text: string; done: number; total: number } | null;
  error: string;
  log: string;
  usage: Usage | null;
  /** Those that the image says it serves. */
  ports: number[];
  tunnels: Tunnel[];
  processes: Process[];
  more: number;
}

/** null: what is not known of it. */
export interface Node {
  name: string;
  cpus: number | null;
  cpu_free: number | null;
  memory: number | null;
  memory_free: number | null;
  containers: number | null;
  labels: Record<string, string>;
}

interface Base {
  where: string;
  connected: boolean;
  now: number;
}

export type ContainerInfo = Base & Container & { kind: "container"; engine: string };
export type PsInfo = Base & { kind: "ps"; session: string; containers: Container[]; more: number };
export type TopInfo = Base & { kind: "top"; session: string; containers: (Summary & { usage: Usage | null })[]; more: number };
export type LocationInfo = Base & {
  kind: "location";
  engine: string;
  version: string;
  about: Record<string, string>;
  session: string;
  durable: boolean;
  nodes: Node[];
  containers: Summary[];
  more: number;
};
export type NodeInfo = Base & { kind: "node"; node: Node };
export type TunnelInfo = Base & {
  kind: "tunnel";
  port: number;
  local: number;
  url: string;
  path: string;
  container: string;
  image: string;
  state: string;
  open: boolean;
  through: Through | null;
  connections: number;
  listening: boolean | null;
  preview: boolean;
};
export type Info = ContainerInfo | PsInfo | TopInfo | LocationInfo | NodeInfo | TunnelInfo;
