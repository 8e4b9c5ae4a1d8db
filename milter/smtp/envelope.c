/* envelope */
#include "relaypool.h"
