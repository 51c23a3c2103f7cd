"""Chinese titles of fashion products, made by rule: the attribute columns of an English catalogue, word by word.

Nobody wrote these titles. They say who a product is for, its colour, its use and what it is, in the order in which a
shop's titles do, and nothing that no picture shows (season, year). Equal products have equal titles.
"""

from __future__ import annotations

from collections.abc import Mapping

from interbert.errors import InterbertError

GENDERS = {"Women": "女士", "Men": "男士", "Unisex": "男女通用", "Girls": "女童", "Boys": "男童"}
USES = {
    "Casual": "休闲", "Ethnic": "民族风", "Sports": "运动", "Formal": "正装", "Smart Casual": "商务休闲",
    "Party": "派对", "Travel": "旅行", "Home": "家居", "NA": "", "": "",
}  # fmt: skip
COLOURS = {
    "Black": "黑色", "White": "白色", "Blue": "蓝色", "Brown": "棕色", "Grey": "灰色", "Red": "红色",
    "Green": "绿色", "Purple": "紫色", "Pink": "粉色", "Navy Blue": "藏青色", "Beige": "米色", "Silver": "银色",
    "Maroon": "酒红色", "Yellow": "黄色", "Olive": "橄榄绿", "Gold": "金色", "Orange": "橙色", "Steel": "钢色",
    "Cream": "奶油色", "Tan": "棕褐色", "Multi": "多色", "Magenta": "洋红色", "Off White": "米白色", "Copper": "古铜色",
    "Lavender": "薰衣草紫", "Charcoal": "炭灰色", "Peach": "桃色", "Bronze": "青铜色", "Khaki": "卡其色",
    "Taupe": "灰褐色", "Mustard": "芥末黄", "Coffee Brown": "咖啡色", "Rust": "铁锈红", "Teal": "蓝绿色",
    "Sea Green": "海绿色", "Nude": "裸色", "Fluorescent Green": "荧光绿", "Turquoise Blue": "湖蓝色",
    "Grey Melange": "麻灰色", "Lime Green": "青柠绿", "Metallic": "金属色", "Mauve": "淡紫色", "Rose": "玫瑰色",
    "Skin": "肤色", "Burgundy": "勃艮第红", "Mushroom Brown": "蘑菇棕", "NA": "", "": "",
}  # fmt: skip
ARTICLES = {
    "Tshirts": "T恤", "Shirts": "衬衫", "Casual Shoes": "休闲鞋", "Tops": "上衣", "Kurtas": "库尔塔长衫",
    "Heels": "高跟鞋", "Sports Shoes": "运动鞋", "Flip Flops": "人字拖", "Watches": "手表", "Flats": "平底鞋",
    "Handbags": "手提包", "Sunglasses": "太阳镜", "Sandals": "凉鞋", "Sweaters": "毛衣", "Wallets": "钱包",
    "Formal Shoes": "皮鞋", "Sweatshirts": "卫衣", "Jeans": "牛仔裤", "Belts": "皮带", "Kurtis": "库尔塔短衫",
    "Briefs": "三角内裤", "Shorts": "短裤", "Socks": "袜子", "Trousers": "长裤", "Jackets": "夹克",
    "Backpacks": "双肩包", "Caps": "棒球帽", "Innerwear Vests": "背心", "Skirts": "半身裙", "Dresses": "连衣裙",
    "Track Pants": "运动长裤", "Perfume and Body Mist": "香水", "Tunics": "束腰上衣", "Ties": "领带",
    "Mufflers": "围脖", "Accessory Gift Set": "配饰礼盒", "Capris": "七分裤", "Leggings": "打底裤",
    "Deodorant": "香体喷雾", "Scarves": "丝巾", "Stockings": "丝袜", "Clutches": "手拿包", "Bra": "文胸",
    "Sports Sandals": "运动凉鞋", "Cufflinks": "袖扣", "Trunk": "平角内裤", "Free Gifts": "赠品", "Dupatta": "披肩",
    "Umbrellas": "雨伞", "Fragrance Gift Set": "香水礼盒", "Lounge Pants": "家居裤", "Laptop Bag": "电脑包",
    "Mobile Pouch": "手机袋", "Churidar": "紧身裤", "Hat": "帽子", "Messenger Bag": "斜挎包",
    "Kurta Sets": "库尔塔套装", "Waist Pouch": "腰包", "Footballs": "足球", "Bracelet": "手链",
    "Travel Accessory": "旅行用品", "Gloves": "手套",
    "Shrug": "短开衫",
}  # fmt: skip
COLUMNS = {"gender": GENDERS, "colour": COLOURS, "usage": USES, "article_type": ARTICLES}  # in a title's order


def chinese_title(product: Mapping[str, str]) -> str:
    """The title of a product with the columns `COLUMNS`. Raises InterbertError for a word that the tables lack.

    >>> chinese_title({"gender": "Women", "colour": "Black", "usage": "Casual", "article_type": "Heels"})
    '女士黑色休闲高跟鞋'
    """
    words = [_word(column, product.get(column, "")) for column in COLUMNS]
    use, article = words[-2:]
    return "".join(words if not article.startswith(use) else [*words[:-2], article])  # 运动鞋, not 运动运动鞋


def _word(column: str, value: str) -> str:
    known = COLUMNS[column]
    if value not in known:
        raise InterbertError(
            f"column '{column}' has '{value}', for which there is no Chinese word; there are {len(known)}: "
            f"{', '.join(list(known)[:8])}, … Leave the product out, or add the word to chinese_titles.py"
        )
    return known[value]
