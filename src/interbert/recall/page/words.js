// What the interface says, in English and in Chinese. {name} is put in; nothing here is markup.

import { byId } from "./dom.js";

const WORDS = {
  en: {
    skip: "Skip to the products",
    pages: "Pages",
    search: "Search",
    topics: "Topics",
    compare: "Compare",
    other: "中文",
    topic: "Topic",
    topicExample: "A topic, e.g. shoes for a rainy day",
    threshold: "Score above",
    mode: "How to search",
    exact: "Exact",
    cascade: "Cascade",
    filter: "Filter",
    where: "Only products with",
    clear: "Clear",
    column: "Column",
    operator: "Comparison",
    value: "Value",
    add: "Add",
    products: "Products",
    contains: "contains",
    isEmpty: "is empty",
    start: "What should the pictures show?",
    startMore:
      "Type a topic. Every product's picture is scored; those above the threshold are shown, best first.",
    count: "{recalled} of {passed} products · {seconds} s",
    countCascade:
      "{recalled} products, of {scored} best candidates · {seconds} s · finds {recall} of the exact answer",
    countCascadeUnknown:
      "{recalled} products, of {scored} best candidates · {seconds} s · what it misses is not measured",
    truncated: "The topic is longer than the model reads: only its beginning counts.",
    measured: "Measured on {topics} topics: the share of the exact best {answers} that is found.",
    searching: "Scoring…",
    progress: "{here} so far, of {scored} scored; {total} in all",
    counting: "Counting…",
    precision: "Expected precision {precision} (from {pairs} labelled pairs)",
    precisionNone: "No labelled pair scores this high: the precision is not known",
    uncalibrated: "Scores are not calibrated: they compare products, and promise no precision",
    empty: "No product scores above {threshold}",
    emptyLower: "Show all above {threshold}",
    emptyFilter: "No product passes the filter",
    emptyMore: "Try another topic or a lower threshold.",
    failed: "The service could not answer",
    unreachable: "The service does not answer. Is it running?",
    busyTitle: "Too many are asking at once",
    busyMore: "Trying again in {seconds} s.",
    goesOn: "Not done yet: it goes on where it stopped",
    notReady: "The service is getting ready",
    retry: "Try again",
    request: "Request {id}",
    needKey: "The service wants a key",
    key: "Key",
    useKey: "Use it",
    score: "Score",
    close: "Close",
    previous: "Previous product",
    next: "Next product",
    noPicture: "No picture",
    why: "Why “{topic}”?",
    words: "Words",
    regions: "Regions",
    region: "region",
    wordsMore: "What the word adds, in log-odds of the score. Choose one to see where in the picture it looks.",
    regionsMore: "What the region adds, in log-odds of the score. Choose one to see only it.",
    noRegion: "No single region speaks for the pair.",
    explaining: "Asking the model…",
    forIt: "speaks for it",
    againstIt: "speaks against it",
    compareTitle: "Compare two models",
    compareStart: "One topic, two models: what each finds, and where they differ.",
    compareNone: "This service has one model.",
    compareHow: "Serve the second one under a path of this address, which a proxy does, and say so here:",
    shared: "{shared} of the best {count} are in both",
    onlyHere: "only here",
    rankThere: "{rank}. there",
    model: "Model",
    above: "{count} above {threshold}",
    topicsTitle: "Topics",
    topicsNone: "No topics are kept yet.",
    topicsHow: "Recall some from a file:",
    keep: "Keep",
    drop: "Drop",
    openTopic: "Search it now",
    back: "All topics",
    reviewed: "Reviewed: {done} of {all}",
    topicNumbers: "Products: {products} · kept: {kept} · dropped: {dropped}",
    topicCount: "Kept beside the index: {count}",
    reviewHow:
      "Keep what fits the topic, drop what does not (K and D on a card). Both teach the model: they are labelled pairs.",
  },
  zh: {
    skip: "跳到商品",
    pages: "页面",
    search: "搜索",
    topics: "主题",
    compare: "对比",
    other: "English",
    topic: "主题",
    topicExample: "输入主题，例如：雨天穿的鞋",
    threshold: "分数高于",
    mode: "搜索方式",
    exact: "精确",
    cascade: "级联",
    filter: "筛选",
    where: "只看满足条件的商品",
    clear: "清除",
    column: "列",
    operator: "比较",
    value: "值",
    add: "添加",
    products: "商品",
    contains: "包含",
    isEmpty: "为空",
    start: "图片里应该有什么？",
    startMore: "输入一个主题，系统为每件商品的图片打分，并按分数从高到低列出高于阈值的商品。",
    count: "{passed} 件商品中的 {recalled} 件 · {seconds} 秒",
    countCascade: "{recalled} 件商品（候选 {scored} 件）· {seconds} 秒 · 能找到精确结果的 {recall}",
    countCascadeUnknown: "{recalled} 件商品（候选 {scored} 件）· {seconds} 秒 · 遗漏多少尚未测量",
    truncated: "主题超过模型能读的长度：只有开头起作用。",
    measured: "用 {topics} 个主题测得：精确结果前 {answers} 名中被找到的比例。",
    searching: "正在打分…",
    progress: "目前找到 {here} 件；已打分 {scored} / {total}",
    counting: "正在统计…",
    precision: "预期精确率 {precision}（依据 {pairs} 对标注数据）",
    precisionNone: "没有标注数据达到这个分数：精确率未知",
    uncalibrated: "分数未经校准：只能用来比较商品，不代表精确率",
    empty: "没有分数高于 {threshold} 的商品",
    emptyLower: "显示所有高于 {threshold} 的商品",
    emptyFilter: "没有商品满足筛选条件",
    emptyMore: "请换一个主题，或降低阈值。",
    failed: "服务无法回答",
    unreachable: "服务没有响应，它在运行吗？",
    busyTitle: "同时提问的人太多",
    busyMore: "{seconds} 秒后自动重试。",
    goesOn: "尚未完成：从停下的地方继续",
    notReady: "服务正在准备",
    retry: "重试",
    request: "请求 {id}",
    needKey: "服务需要密钥",
    key: "密钥",
    useKey: "使用",
    score: "分数",
    close: "关闭",
    previous: "上一件商品",
    next: "下一件商品",
    noPicture: "没有图片",
    why: "为什么是“{topic}”？",
    words: "词",
    regions: "区域",
    region: "区域",
    wordsMore: "这个词对分数的贡献（对数几率）。选一个词，看它关注图片的哪里。",
    regionsMore: "这个区域对分数的贡献（对数几率）。选一个区域，单独查看。",
    noRegion: "没有哪个区域单独支持这一匹配。",
    explaining: "正在询问模型…",
    forIt: "支持",
    againstIt: "反对",
    compareTitle: "对比两个模型",
    compareStart: "同一主题，两个模型：各自找到什么，差别在哪里。",
    compareNone: "此服务只有一个模型。",
    compareHow: "用反向代理把第二个服务放在本地址的某个路径下，再在此处写明：",
    shared: "前 {count} 名中有 {shared} 件相同",
    onlyHere: "仅此处",
    rankThere: "对方第 {rank} 名",
    model: "模型",
    above: "{count} 件高于 {threshold}",
    topicsTitle: "主题",
    topicsNone: "还没有保存的主题。",
    topicsHow: "用文件批量召回：",
    keep: "保留",
    drop: "剔除",
    openTopic: "现在搜索",
    back: "全部主题",
    reviewed: "已审核：{done} / {all}",
    topicNumbers: "商品 {products} · 保留 {kept} · 剔除 {dropped}",
    topicCount: "已保存 {count} 个主题",
    reviewHow: "保留符合主题的商品，剔除不符合的（在卡片上按 K 或 D）。两者都会成为训练模型的标注数据。",
  },
};

const SAVED = "interbert-language";
let language = localStorage.getItem(SAVED) || (navigator.language.startsWith("zh") ? "zh" : "en");
if (!(language in WORDS)) language = "en";

export const t = (name, values = {}) =>
  WORDS[language][name].replace(/\{(\w+)\}/g, (_, key) => values[key] ?? "");
export const number = (value) => value.toLocaleString(language);
export const percent = (value) =>
  value.toLocaleString(language, { style: "percent", maximumFractionDigits: 0 });
export const seconds = (value) =>
  value.toLocaleString(language, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
export const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);

// Writes the document's fixed texts in the chosen language.
function translate() {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  for (const one of document.querySelectorAll("[data-t]")) one.textContent = t(one.dataset.t);
  for (const one of document.querySelectorAll("[data-t-label]"))
    one.setAttribute("aria-label", t(one.dataset.tLabel));
  for (const one of document.querySelectorAll("[data-t-placeholder]"))
    one.placeholder = t(one.dataset.tPlaceholder);
  byId("language").textContent = t("other");
  byId("language").lang = language === "zh" ? "en" : "zh-Hans";
}

// Translates now, and again when the language button is pressed; then `changed` writes what it has written itself.
export function speak(changed) {
  translate();
  byId("language").addEventListener("click", () => {
    language = language === "zh" ? "en" : "zh";
    localStorage.setItem(SAVED, language);
    translate();
    changed();
  });
}
